"""Several processes that train one model, each on its part of every batch.

A step of this small model is many small operations, between which two threads of one process wait for each other.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.multiprocessing as mp


@dataclass
class Team:
    """What the workers share: each has a row for its part of a sum."""

    rank: int
    rows: torch.Tensor  # f32 [workers, longest sum]
    status: torch.Tensor  # what the program's exit status will be, if the first worker says so
    barrier: Any
    parent: int  # process whose end is theirs too

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum(self, tensors: list[torch.Tensor]) -> None:
        """Each tensor becomes the sum of all workers', added in the order of their ranks: the same bits for all."""
        if self.size == 1:
            return
        if os.getppid() != self.parent:
            raise SystemExit("the program that started this worker is gone")
        flat = torch.cat([t.flatten() for t in tensors])
        self.rows[self.rank, : len(flat)] = flat
        self.barrier.wait()
        total = self.rows[:, : len(flat)].sum(0)
        self.barrier.wait()
        for tensor, part in zip(tensors, total.split([t.numel() for t in tensors])):
            tensor.copy_(part.view_as(tensor))

    def owns(self, i: int) -> bool:
        """Whether the i-th of some tensors is this worker's to change."""
        return i % self.size == self.rank

    @torch.no_grad()
    def share(self, tensors: list[torch.Tensor]) -> None:
        """Each tensor becomes its owner's."""
        if self.size == 1:
            return
        sizes = [t.numel() for t in tensors]
        places = self.rows[0][: sum(sizes)].split(sizes)
        for i, (tensor, place) in enumerate(zip(tensors, places)):
            if self.owns(i):
                place.copy_(tensor.flatten())
        self.barrier.wait()
        for i, (tensor, place) in enumerate(zip(tensors, places)):
            if not self.owns(i):
                tensor.copy_(place.view_as(tensor))
        self.barrier.wait()


PATIENCE = 600  # seconds that workers wait for each other
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_memory() -> None:
    """Freed memory stays the process's: large tensors come and go at every step, and fresh pages have to be cleared."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _join(rank: int, work: Callable, shared: tuple, arguments: tuple) -> None:
    keep_memory()
    work(Team(rank, *shared), *arguments)


def together(work: Callable, workers: int, longest: int, *arguments) -> int:
    """Runs `work(team, *arguments)` in as many processes; `longest`: of what they sum, in numbers. Returns the status."""
    rows = torch.zeros(workers, longest if workers > 1 else 0).share_memory_()
    shared = rows, torch.zeros(1, dtype=torch.int64).share_memory_(), mp.get_context("spawn").Barrier(workers, timeout=PATIENCE), os.getpid()
    if workers == 1:
        _join(0, work, shared, arguments)
    else:
        mp.spawn(_join, (work, shared, arguments), nprocs=workers)
    return int(shared[1])
