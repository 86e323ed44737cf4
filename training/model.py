"""The decoder that is trained: Llama's blocks, every layer of which can be the last.

RMSNorm, rotary positions (halves rotated, as Hugging Face's Llama does), grouped-query attention, SwiGLU, tied embedding
and head; after any layer the final norm and the head give logits (LayerSkip, Elhoushi et al. 2024: one head for all
exits).
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 64  # inputs that share an activation scale (docs/numbers.md)


@dataclass(frozen=True)
class Shape:
    vocab: int
    hidden: int = 192
    layers: int = 8
    heads: int = 6
    kv_heads: int = 2
    ffn: int = 512
    context: int = 512
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    def to_json(self) -> dict:
        return asdict(self)


def round_through(x: Tensor) -> Tensor:
    """Rounds in the forward pass; the gradient passes as if it had not."""
    return x + (x.round() - x).detach()


def int8_rows(weight: Tensor) -> Tensor:
    """Weights [outputs, inputs] as the engine reads them: symmetric int8, one scale a row."""
    scale = weight.detach().abs().amax(-1, keepdim=True).clamp(min=2**-100) / 127
    return round_through(weight / scale) * scale


def int8_groups(x: Tensor, group: int = GROUP) -> Tensor:
    """Activations as the engine quantises them: int8 by row and group of `group` inputs."""
    parts = x.unflatten(-1, (-1, group)) if x.shape[-1] % group == 0 else x[..., None, :]
    scale = parts.detach().abs().amax(-1, keepdim=True).clamp(min=2**-100) / 127
    return (round_through(parts / scale) * scale).reshape(x.shape)


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, deviation: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * deviation)

    def forward(self, x: Tensor, int8: bool) -> Tensor:
        if int8:
            return F.linear(int8_groups(x), int8_rows(self.weight))
        return F.linear(x, self.weight.to(x.dtype))


class Norm(nn.Module):
    def __init__(self, hidden: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(hidden)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.shape = s
        kv = s.kv_heads * s.head_dim
        small, into = s.hidden**-0.5, s.hidden**-0.5 * (2 * s.layers) ** -0.5
        self.attention_norm, self.ffn_norm = Norm(s.hidden, s.epsilon), Norm(s.hidden, s.epsilon)
        self.query, self.key = Linear(s.hidden, s.hidden, small), Linear(s.hidden, kv, small)
        self.value, self.output = Linear(s.hidden, kv, small), Linear(s.hidden, s.hidden, into)
        self.gate, self.up = Linear(s.hidden, s.ffn, small), Linear(s.hidden, s.ffn, small)
        self.down = Linear(s.ffn, s.hidden, s.ffn**-0.5 * (2 * s.layers) ** -0.5)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], dtype: torch.dtype, int8: bool) -> Tensor:
        s = self.shape
        rows, length, _ = x.shape
        split = lambda y, heads: y.view(rows, length, heads, s.head_dim).transpose(1, 2)
        h = self.attention_norm(x).to(dtype)
        q, k = split(self.query(h, int8), s.heads), split(self.key(h, int8), s.kv_heads)
        v = split(self.value(h, int8), s.kv_heads)
        q, k = rotate(q, turn), rotate(k, turn)
        if int8:  # the cache holds them so: by token and head
            k, v = int8_groups(k, s.head_dim), int8_groups(v, s.head_dim)
        h = attend(q, k, v)
        x = x + self.output(h.transpose(1, 2).reshape(rows, length, -1), int8)
        h = self.ffn_norm(x).to(dtype)
        return x + self.down(F.silu(self.gate(h, int8)) * self.up(h, int8), int8)


def attend(q: Tensor, k: Tensor, v: Tensor, block: int = 64) -> Tensor:
    """Causal attention of q [B, heads, N, D] over k and v [B, kv heads, N, D], a block of queries at a time.

    Keys ahead of a block are not multiplied, and the heads of a group share one product, neither of which
    `scaled_dot_product_attention` does on a CPU.
    """
    count, heads, length, width = q.shape
    groups = k.shape[1]
    q = (q * width**-0.5).view(count, groups, heads // groups, length, width)
    ahead = torch.full((block, block), -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    outs = []
    for first in range(0, length, block):
        end = min(first + block, length)
        size = end - first
        scores = q[:, :, :, first:end].reshape(count, groups, -1, width) @ k[:, :, :end].transpose(-1, -2)
        scores = scores.view(count, groups, -1, size, end)
        seen, own = scores.split([first, size], -1)
        p = torch.cat([seen, own + ahead[:size, :size]], -1).softmax(-1).view(count, groups, -1, end)
        outs.append((p @ v[:, :, :end]).view(count, groups, -1, size, width))
    return torch.cat(outs, 3).view(count, heads, length, width)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = turn
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Decoder(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocab, shape.hidden) * shape.hidden**-0.5)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.final_norm = Norm(shape.hidden, shape.epsilon)
        half = shape.head_dim // 2
        angles = torch.outer(torch.arange(shape.context), shape.rope_base ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(
        self,
        ids: Tensor,
        wanted: set[int],
        depth: Tensor | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        int8: bool = False,
        dropout: float = 0.0,
    ) -> dict[int, Tensor]:
        """ids [B, N] to the residual stream after the `wanted` layers (1 … layers), each [B, N, hidden].

        `depth` [B, N]: a token's layers; above, its state stays and its keys and values are made from it, as the engine
        fills the cache of layers that an exit skips.
        """
        length = ids.shape[1]
        turn = self.cos[:length].to(dtype), self.sin[:length].to(dtype)
        x = F.embedding(ids, int8_rows(self.embedding) if int8 else self.embedding)
        x = F.dropout(x, dropout, self.training)
        states = {}
        for i, block in enumerate(self.blocks):
            y = block(x, turn, dtype, int8)
            x = y if depth is None else torch.where((depth > i)[..., None], y, x)
            if i + 1 in wanted:
                states[i + 1] = x
        return states

    def logits(self, x: Tensor, *, dtype: torch.dtype = torch.float32, int8: bool = False) -> Tensor:
        h = self.final_norm(x).to(dtype)
        return F.linear(int8_groups(h), int8_rows(self.embedding)) if int8 else F.linear(h, self.embedding.to(dtype))
