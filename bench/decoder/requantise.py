"""Makes a Q8_0 GGUF from a quantised one: every matrix dequantised to f32 and quantised again, all else as it is.

usage: requantise.py SOURCE.gguf TARGET.gguf
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize

Q8_0 = GGMLQuantizationType.Q8_0
# Written by GGUFWriter itself, or no longer true of the target.
OWN = {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "general.architecture", "general.file_type"}


def copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for key, field in reader.fields.items():
        if key in OWN:
            continue
        kind, *items = field.types
        writer.add_key_value(key, field.contents(), kind, items[-1] if kind == GGUFValueType.ARRAY else None)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    reader = GGUFReader(source)
    partial = target.with_suffix(".part")
    writer = GGUFWriter(partial, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer)
    worst = 0.0
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        values = dequantize(tensor.data, tensor.tensor_type)
        data = quantize(values, Q8_0)
        error = np.linalg.norm(dequantize(data, Q8_0) - values) / np.linalg.norm(values)
        worst = max(worst, float(error))
        writer.add_tensor(tensor.name, data, raw_dtype=Q8_0)
    # 8 bits per weight: a relative error of half a percent. More means that blocks were read wrongly.
    if worst > 0.01:
        raise SystemExit(f"requantise: a tensor lost {worst:.3f} of its norm")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(target)
    print(f"{len(reader.tensors)} tensors, worst relative error {worst:.4f}")


main()
