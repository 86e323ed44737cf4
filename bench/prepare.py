"""Makes the peers' models: MiniLM as dynamically quantised int8 ONNX, and one MatMulInteger graph per GEMM shape.

usage: prepare.py SOURCE_DIR OUT_DIR    (SOURCE_DIR: a Hugging Face BERT directory with model.safetensors)

The int8 model is what transformers.js ships: torch.onnx.export, then onnxruntime's quantize_dynamic
(int8 weights per channel, reduced range so that u8 x s8 sums cannot saturate on CPUs without VNNI).
"""

import logging
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModel

# (K inputs, N outputs): MiniLM's FFN up, and the two decode shapes of a 576-wide decoder.
MATMULS = [(384, 1536), (576, 1536), (1536, 576)]


class LastHidden(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return out.last_hidden_state


def export_minilm(source: Path, out: Path) -> None:
    target = out / "minilm-int8.onnx"
    if target.exists():
        return
    # eval() on the wrapper: the exporter restores its mode afterwards, and with it the dropout of everything inside.
    model = LastHidden(AutoModel.from_pretrained(source, attn_implementation="eager", dtype=torch.float32)).eval()
    ids = torch.randint(1000, 30000, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    names = ["input_ids", "attention_mask", "token_type_ids"]
    floating = out / "minilm-f32.onnx"
    torch.onnx.export(
        model,
        (ids, mask, torch.zeros_like(ids)),
        str(floating),
        dynamo=False,
        opset_version=17,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]},
    )
    check_export(model, floating)
    partial = out / "minilm-int8.part.onnx"
    quantize_dynamic(str(floating), str(partial), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    floating.unlink()
    partial.rename(target)


def check_export(model: torch.nn.Module, path: Path) -> None:
    """The traced graph must hold for shapes it was not traced on."""
    ids = torch.randint(1000, 30000, (3, 23), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[2, 17:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    with torch.no_grad():
        expected = model(**inputs).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    error = float(np.abs(got - expected).max())
    if error > 1e-3:
        raise SystemExit(f"prepare: the ONNX export differs from torch by {error}")


def matmul_integer(inputs: int, outputs: int, path: Path) -> None:
    """a u8[M][K] x constant b i8[K][N] -> i32[M][N]; b is a constant, so the runtime may pack it beforehand."""
    if path.exists():
        return
    weights = np.random.default_rng(inputs * 31 + outputs).integers(-63, 64, (inputs, outputs)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "matmul",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, ["m", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["m", outputs])],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    partial = path.with_suffix(".part")
    onnx.save(model, str(partial))
    partial.rename(path)


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for inputs, outputs in MATMULS:
        matmul_integer(inputs, outputs, out / f"matmul-{inputs}x{outputs}.onnx")
    # What one call costs whatever it computes: an 8 x 8 product.
    matmul_integer(8, 8, out / "matmul-8x8.onnx")
    export_minilm(source, out)


main()
