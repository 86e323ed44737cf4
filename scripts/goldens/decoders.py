"""Small random decoders as transformers itself writes them, and what PyTorch computes with them: tests/fixtures/decoders.

Weights are stored in half precision; logits are of those stored weights, in float64 but where transformers itself goes
through float32 (RoPE tables, RMSNorm), rounded to 7 digits.
"""

import json
import pathlib
import shutil

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = pathlib.Path(__file__).parents[2] / "tests" / "fixtures" / "decoders"
LONG = [(7 * i * i + 3 * i + 1) % 29 for i in range(40)]
SHORT = LONG[:9]
POSITIONS = [0, 8, 23, 39]

# max_position_embeddings of the Llama is 16: the long sequence is beyond it.
ROPE = {
    "default": {"rope_type": "default", "rope_theta": 100.0},
    "linear": {"rope_type": "linear", "factor": 3.0, "rope_theta": 100.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 100.0},
    "yarn-all": {
        "rope_type": "yarn",
        "factor": 8.0,
        "original_max_position_embeddings": 64,
        "beta_fast": 9,
        "beta_slow": 0.7,
        "mscale": 0.9,
        "mscale_all_dim": 0.3,
        "truncate": False,
        "rope_theta": 100.0,
    },
    "yarn-attention": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5, "rope_theta": 100.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 0.5,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
        "rope_theta": 100.0,
    },
}

# Scalings of published models: inverse frequencies and the factor of cos and sin.
PUBLISHED = {
    "Llama-3.1-8B": (128, 131072, {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 500000.0}),
    "Llama-3.2-1B": (64, 131072, {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 500000.0}),
    "Qwen2.5-7B, 128k": (128, 32768, {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "rope_theta": 1000000.0}),
    "DeepSeek's mscale": (64, 163840, {
        "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
        "mscale": 1.0, "mscale_all_dim": 0.707, "rope_theta": 10000.0}),
    "gpt-oss's bounds": (64, 131072, {
        "rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
        "truncate": False, "rope_theta": 150000.0}),
}


def randomise(model, seed):
    """Every weight matters: biases and norms start at 0 and 1 in transformers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm = "norm" in name or ".ln_" in name
            parameter.copy_(noise * 0.25 + (1 if norm and name.endswith("weight") else 0))
    model.tie_weights()
    return model


def numbers(tensor):
    return [float(f"{x:.7g}") for x in tensor.flatten().tolist()]


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def expected(model):
    model = model.to(torch.float64).eval()
    return {
        "long": [numbers(logits(model, LONG)[p]) for p in POSITIONS],
        "short": numbers(logits(model, SHORT)[-1]),
    }


def write(name, value):
    (OUT / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


def save(model, name, dtype, **options):
    model.to(dtype).save_pretrained(OUT / name, **options)
    return type(model).from_pretrained(OUT / name, dtype=torch.float64, attn_implementation="eager")


def rope(base, name):
    config = transformers.LlamaConfig.from_pretrained(base)
    config.rope_parameters = dict(ROPE[name])
    model = transformers.LlamaForCausalLM.from_pretrained(base, config=config, dtype=torch.float64)
    return model


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)

llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(
    vocab_size=29, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=12, max_position_embeddings=16, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5,
    rope_parameters=dict(ROPE["default"]), tie_word_embeddings=False))
save(randomise(llama, 1), "llama", torch.bfloat16, max_shard_size="8KB")
qwen2 = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
    vocab_size=29, hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, tie_word_embeddings=True, eos_token_id=[5, 6], bos_token_id=4))
gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(
    vocab_size=29, n_embd=24, n_layer=2, n_head=3, n_positions=48, bos_token_id=28, eos_token_id=28))

write("expected.json", {
    "torch": torch.__version__.split("+")[0],
    "transformers": transformers.__version__,
    **{"long": LONG, "short": SHORT, "positions": POSITIONS, "rope": ROPE},
    "logits": {
        **{f"llama {name}": expected(rope(OUT / "llama", name)) for name in ROPE},
        "qwen2": expected(save(randomise(qwen2, 2), "qwen2", torch.float16)),
        "gpt2": expected(save(randomise(gpt2, 3), "gpt2", torch.float16)),
    },
})

published = {}
for name, (head_dim, context, parameters) in PUBLISHED.items():
    config = transformers.LlamaConfig(
        hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim, max_position_embeddings=context,
        rope_parameters=dict(parameters))
    frequencies, scale = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu")
    published[name] = {
        "headDim": head_dim, "context": context, "parameters": parameters,
        "frequencies": numbers(frequencies.double()), "scale": scale,
    }
write("published.json", published)
