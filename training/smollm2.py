"""SmolLM2-135M-Instruct, decoding many sequences at once: the writer of the story corpus.

Why PyTorch and not llama.cpp: with many sequences a step is arithmetic, not memory traffic, and a program for this one
task can leave work out; and PyTorch is what the training needs anyway. The head has only the rows of the allowed
tokens. The prompt that all sequences share is held once (its attention is one product for all of them). All sequences
of a wave write the same column of their caches, so that those are written by plain slices.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


def read_tokenizer(reader: GGUFReader) -> Tokenizer:
    """Byte-level BPE as llama.cpp's `smollm` pre-tokenizer splits it: single digits, then GPT-2's pattern."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, kinds) if kind == 3])
    return tokenizer


def unpermute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """GGUF stores a head's rotary pairs interleaved; this program rotates halves, as the original weights do."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


class Linear:
    """x W^T. On a CPU with bf16 the weights are packed once for oneDNN, which `F.linear` would do at every call."""

    def __init__(self, weight: torch.Tensor, rows: int):
        self.packed = weight.device.type == "cpu" and weight.dtype == torch.bfloat16
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows) if self.packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if not self.packed:
            return F.linear(x, self.weight)
        y = torch.ops.mkldnn._linear_pointwise(x.reshape(-1, x.shape[-1]), self.weight, None, "none", [], "")
        return y.view(*x.shape[:-1], -1)


class SmolLM2:
    """The model with a head of `allowed` tokens only (ids in ascending order)."""

    def __init__(self, path: Path, rows: int, device: str, dtype: torch.dtype = torch.bfloat16):
        reader = GGUFReader(path)
        self.tokenizer = read_tokenizer(reader)
        self.device, self.dtype, self.rows = device, dtype, rows
        value = lambda key: reader.fields[f"llama.{key}"].contents()
        self.heads, self.groups = value("attention.head_count"), value("attention.head_count_kv")
        self.width, self.layers = value("embedding_length"), value("block_count")
        self.head_width = self.width // self.heads
        self.epsilon, self.theta = value("attention.layer_norm_rms_epsilon"), value("rope.freq_base")
        tensors = {
            t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).astype(np.float32)).view(t.shape[::-1].tolist())
            for t in reader.tensors
        }
        self.embedding = tensors["token_embd.weight"].to(device, dtype)
        self.final_norm = tensors["output_norm.weight"].to(device)
        self.blocks = [self._block(tensors, i) for i in range(self.layers)]
        self.cos, self.sin = self.rotations(2048)
        self.kernel = load_kernel(self)
        self.allow(list(range(len(self.embedding))))

    def _block(self, tensors: dict, i: int) -> dict:
        get = lambda name: tensors[f"blk.{i}.{name}.weight"]
        join = lambda *parts: Linear(torch.cat(parts).to(self.device, self.dtype).contiguous(), self.rows)
        return {
            "qkv": join(
                unpermute(get("attn_q"), self.heads), unpermute(get("attn_k"), self.groups), get("attn_v")
            ),
            "out": join(get("attn_output")),
            "up": join(get("ffn_gate"), get("ffn_up")),
            "down": join(get("ffn_down")),
            "attn_norm": get("attn_norm").to(self.device),
            "ffn_norm": get("ffn_norm").to(self.device),
        }

    def allow(self, allowed: list[int]) -> None:
        self.allowed = torch.tensor(allowed, device=self.device)
        self.head = Linear(self.embedding[self.allowed].contiguous(), self.rows)

    def rotations(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin [count, head width] of positions 0 … count - 1."""
        half = self.head_width // 2
        frequencies = self.theta ** (-torch.arange(half, dtype=torch.float32) / half)
        angles = torch.arange(count).float()[:, None] * frequencies
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(self.device, self.dtype), angles.sin().to(self.device, self.dtype)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, cache: "Cache") -> torch.Tensor:
        """ids and positions [B, N], appended to the cache; returns the states [B, N, width] before the head."""
        count, length = ids.shape
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        half = self.head_width // 2
        # The residual stream stays in f32: bf16 would round away what its outlier channels stand beside.
        x = self.embedding[ids].float()
        for block, layer in zip(self.blocks, cache.layers):
            h = F.rms_norm(x, (self.width,), block["attn_norm"], self.epsilon).to(self.dtype)
            qkv = block["qkv"](h).view(count, length, -1, self.head_width).transpose(1, 2)
            qk = qkv[:, : self.heads + self.groups]
            turned = torch.cat([-qk[..., half:], qk[..., :half]], -1)
            qk = qk * cos + turned * sin
            q, k = qk[:, : self.heads], qk[:, self.heads :]
            h = layer.attend(q, k, qkv[:, self.heads + self.groups :], cache)
            x = x + block["out"](h)
            h = F.rms_norm(x, (self.width,), block["ffn_norm"], self.epsilon).to(self.dtype)
            gate, up = block["up"](h).chunk(2, -1)
            x = x + block["down"](F.silu(gate) * up)
        cache.length += length
        return F.rms_norm(x, (self.width,), self.final_norm, self.epsilon).to(self.dtype)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.head(states).float()


class Layer:
    def __init__(self, model: SmolLM2, count: int, capacity: int):
        shape = (count, model.groups, capacity, model.head_width)
        self.keys = torch.zeros(shape, device=model.device, dtype=model.dtype)
        self.values = torch.zeros(shape, device=model.device, dtype=model.dtype)
        self.shared_keys = self.shared_values = None

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cache: "Cache") -> torch.Tensor:
        """q [B, heads, N, w], k and v [B, groups, N, w]; returns [B, N, heads * w]."""
        count, heads, length, width = q.shape
        groups = k.shape[1]
        per = heads // groups
        start, end = cache.length, cache.length + length
        self.keys[:, :, start:end], self.values[:, :, start:end] = k, v
        # One group's query heads and positions are the rows of one product.
        q = q.reshape(count, groups, per * length, width) * width**-0.5
        if cache.kernel and length == 1:
            return self.attend_one(q, cache, end)
        scores = q @ self.keys[:, :, :end].transpose(-1, -2)
        scores = scores.view(count, groups, per, length, end).float()
        scores = scores + cache.hidden[:, None, None, None, :end]
        if length > 1:
            causal = torch.ones(length, end, device=q.device, dtype=torch.bool).tril(start)
            scores = scores.masked_fill(~causal, -1e9)
        scores = scores.view(count, groups, per * length, end)
        if self.shared_keys is None:
            p = scores.softmax(-1).to(q.dtype)
            out = p @ self.values[:, :, :end]
        else:
            across = q.transpose(0, 1).reshape(groups, -1, width)
            shared = (across @ self.shared_keys.transpose(-1, -2)).float()
            shared = shared.view(groups, count, per * length, -1).transpose(0, 1)
            p = torch.cat([shared, scores], -1).softmax(-1).to(q.dtype)
            prompt = p[..., : cache.shared].transpose(0, 1).reshape(groups, -1, cache.shared) @ self.shared_values
            out = p[..., cache.shared :] @ self.values[:, :, :end]
            out = out + prompt.view(groups, count, per * length, width).transpose(0, 1)
        return out.view(count, heads, length, width).transpose(1, 2).reshape(count, length, heads * width)


    def attend_one(self, q: torch.Tensor, cache: "Cache", end: int) -> torch.Tensor:
        """One new position of every sequence, by attend.cpp; q [B, groups, heads per group, w], scaled."""
        count, groups, per, width = q.shape
        across = q.transpose(0, 1).reshape(groups, -1, width)
        shared = (across @ self.shared_keys.transpose(-1, -2)).float()
        shared = shared.view(groups, count, per, -1).transpose(0, 1).contiguous()
        own = cache.kernel(
            q.view(count, groups * per, width), self.keys, self.values, cache.hidden, shared.flatten(1, 2), end
        )
        p = shared.to(q.dtype).transpose(0, 1).reshape(groups, -1, cache.shared)
        prompt = (p @ self.shared_values).view(groups, count, per, width).transpose(0, 1)
        return (own.view_as(prompt) + prompt).to(q.dtype).reshape(count, 1, -1)


def load_kernel(model: "SmolLM2"):
    """attend.cpp, compiled for this CPU; None where there is no C++ compiler, and on a GPU."""
    if model.device != "cpu" or model.dtype != torch.bfloat16 or not shutil.which("c++") or not shutil.which("ninja"):
        return None
    from torch.utils.cpp_extension import load

    flags = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512"]
    return load("mgt_attend", [str(Path(__file__).parent / "attend.cpp")], extra_cflags=flags).attend_one


class Cache:
    """Keys and values of a wave: a prompt shared by all, then each sequence's own columns.

    `hidden` [B, columns] is what attention adds to a column's score: 0, or -1e9 where the sequence has none there
    (padding on the left, sentences taken back).
    """

    def __init__(self, model: SmolLM2, count: int, capacity: int, shared: "Cache | None" = None):
        self.layers = [Layer(model, count, capacity) for _ in range(model.layers)]
        self.length, self.shared, self.kernel = 0, 0, None
        self.hidden = torch.zeros(count, capacity, device=model.device)
        if shared is not None:
            self.shared, self.kernel = shared.length, model.kernel
            for layer, source in zip(self.layers, shared.layers):
                layer.shared_keys = source.keys[0, :, : shared.length].contiguous()
                layer.shared_values = source.values[0, :, : shared.length].contiguous()

    def keep(self, rows: torch.Tensor) -> None:
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]
        self.hidden = self.hidden[rows]
