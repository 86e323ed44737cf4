"""Writes a checkpoint as a Hugging Face directory (Llama): config.json, model.safetensors (f16), tokenizer files beside.

usage: export.py CHECKPOINT [--out DIR] [--exit-layers 2,4,6]
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from evaluate import load
from model import Decoder

HERE = Path(__file__).parent
NAMES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def tensors(model: Decoder) -> dict[str, torch.Tensor]:
    out = {"model.embed_tokens.weight": model.embedding, "model.norm.weight": model.final_norm.weight}
    for i, block in enumerate(model.blocks):
        for name, theirs in NAMES.items():
            out[f"model.layers.{i}.{theirs}.weight"] = getattr(block, name).weight
    return {name: tensor.detach().half().contiguous() for name, tensor in out.items()}


def config(model: Decoder, exits: list[int]) -> dict:
    s = model.shape
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": s.hidden,
        "intermediate_size": s.ffn,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": s.context,
        "rms_norm_eps": s.epsilon,
        "rope_theta": s.rope_base,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "vocab_size": s.vocab,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float16",
        **({"exit_layers": exits} if exits else {}),
    }


README = """---
license: mit
language: en
library_name: mincut-gated-transformer
pipeline_tag: text-generation
---

A decoder of {parameters:.1f} M parameters that tells simple stories; each of its {layers} layers can be the last. Trained by
`training/run.py` on `training/corpus`; its card is `docs/stories.md`. Weights are f16; `mgt convert` makes int8 of them.
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, default=HERE.parent / "models" / "stories")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json to copy in, with its tokenizer_config.json")
    parser.add_argument("--exit-layers", default="", help="after which the engine asks where nothing else is said")
    options = parser.parse_args()
    model = load(options.checkpoint)
    options.out.mkdir(parents=True, exist_ok=True)
    exits = [int(word) for word in options.exit_layers.split(",") if word]
    (options.out / "config.json").write_text(json.dumps(config(model, exits), indent=2) + "\n")
    save_file(tensors(model), options.out / "model.safetensors", metadata={"format": "pt"})
    (options.out / "model.safetensors").chmod(0o644)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    (options.out / "README.md").write_text(README.format(parameters=parameters, layers=model.shape.layers))
    if options.tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            source = options.tokenizer.with_name(name)
            if source.exists():
                shutil.copy(source, options.out / name)
    print(f"{options.out}: {parameters:.2f} M parameters")


if __name__ == "__main__":
    main()
