"""Writes tests/fixtures/minilm/embeddings.{json,f32}: sentence embeddings of the original float32 model.

    python scripts/goldens/embeddings.py [MiniLM directory]

The model is transformers' BertModel in float32, one text at a time without padding; tokens mean-pooled and normalised,
256 tokens at most, as sentence-transformers does. A plain numpy forward pass in float64 checks every text.
"""

import json
import math
import os
import pathlib
import sys

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.numpy import load_file

from sentences import TEXTS

CACHE = os.environ.get("MGT_CACHE") or os.path.expanduser("~/.cache/mincut-gated-transformer")
MODEL = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else f"{CACHE}/all-MiniLM-L6-v2")
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/minilm"
LIMIT = json.loads((MODEL / "sentence_bert_config.json").read_text())["max_seq_length"]

torch.manual_seed(0)
torch.set_num_threads(1)
assert len(set(TEXTS)) == len(TEXTS)

tokenizer = tokenizers.Tokenizer.from_file(str(MODEL / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(LIMIT)
model = transformers.BertModel.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()


def original(ids):
    with torch.inference_mode():
        rows = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        pooled = rows.mean(dim=0)
        return (pooled / pooled.norm()).numpy()


config = json.loads((MODEL / "config.json").read_text())
weights = {name: w.astype(np.float64) for name, w in load_file(MODEL / "model.safetensors").items() if w.dtype == np.float32}
HEADS, LAYERS, EPS = config["num_attention_heads"], config["num_hidden_layers"], config["layer_norm_eps"]
erf = np.vectorize(math.erf)


def numpy64(ids):
    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    e = "embeddings"
    x = weights[f"{e}.word_embeddings.weight"][ids] + weights[f"{e}.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights[f"{e}.token_type_embeddings.weight"][0], f"{e}.LayerNorm")
    for i in range(LAYERS):
        at = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{at}.attention.self.{n}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for n in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        heads = (scores / scores.sum(axis=-1, keepdims=True)) @ v
        mixed = heads.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        wide = linear(x, f"{at}.intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        x = norm(x + linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    pooled = x.mean(axis=0)
    return pooled / np.sqrt((pooled * pooled).sum())


encoded = [tokenizer.encode(text) for text in TEXTS]
ids = [e.ids for e in encoded]
vectors = np.stack([original(i) for i in ids]).astype("<f4")
worst = max(np.abs(numpy64(i) - v).max() for i, v in zip(ids, vectors))
print(f"largest difference from numpy in float64: {worst:.2e}")
assert worst < 2e-6, worst

similar = vectors @ vectors.T
upper = similar[np.triu_indices(len(TEXTS), 1)]
print(f"{len(TEXTS)} texts, {sum(map(len, ids))} tokens; similarities {upper.min():.3f} to {upper.max():.3f}")

OUT.mkdir(parents=True, exist_ok=True)
(OUT / "embeddings.f32").write_bytes(vectors.tobytes())
head = {"torch": torch.__version__, "transformers": transformers.__version__, "limit": LIMIT}
head |= {"dimensions": vectors.shape[1], "count": len(TEXTS)}
rows = [
    json.dumps({"text": t, "truncated": len(e.overflowing) > 0, "ids": e.ids}, ensure_ascii=False)
    for t, e in zip(TEXTS, encoded)
]
body = ",\n".join(f"    {row}" for row in rows)
(OUT / "embeddings.json").write_text(f'{json.dumps(head, indent=2)[:-2]},\n  "texts": [\n{body}\n  ]\n}}\n')
