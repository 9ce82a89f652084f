"""The tuned model as a file to serve: base and adapter merged, every matrix in eight bits, our chat template inside.

Owns:   the merging. Eight bits, because in four an adapter's small changes are rounded away (training/log.md). Needs no
        torch: this is what a first start would do.

Run as `python -m training.tuning.weights.convert BASE.gguf ADAPTER OUT`: OUT ends in `.gguf`, or is a folder that is
filled with what OpenVINO loads. `renga serve --model OUT` takes both.
"""

import argparse
import pathlib
import sys
import tempfile
from typing import Any

import numpy

from training.tuning.chatml import TEMPLATE
from training.tuning.weights import lora
from training.tuning.weights.base import our_name, pairs_from_halves, read_shape, read_tensor

CHANGED: dict[str, Any] = {"general.name": "hokku-m", "general.file_type": 7}
"""Metadata that differs from the base's; the chat template does too."""
LEFT_OUT = ("GGUF.", "general.architecture", "general.quantization_version")
"""Metadata that the writer writes itself."""


def merge(base: pathlib.Path, adapter: lora.Adapter, out: pathlib.Path) -> None:
    """Write the merged model as GGUF, every matrix in Q8_0.

    Cost: 5 s and 600 MB for 135 M parameters.
    """
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from gguf.quants import quantize

    reader = GGUFReader(base)
    shape = read_shape({name: field.contents() for name, field in reader.fields.items()})
    writer = GGUFWriter(out, "llama")
    _copy_metadata(reader, writer)
    for tensor in reader.tensors:
        name, weights = our_name(tensor.name), read_tensor(tensor, shape)
        if f"{name}.A" in adapter:
            weights = weights + lora.change(adapter, name)
        heads = {"q": shape.heads, "k": shape.kv_heads}.get(name.rpartition(".")[2])
        weights = numpy.ascontiguousarray(weights if heads is None else pairs_from_halves(weights, heads))
        if weights.ndim == 1:
            writer.add_tensor(tensor.name, weights)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor.name, quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _copy_metadata(reader: Any, writer: Any) -> None:
    from gguf import GGUFValueType

    changed = CHANGED | {"tokenizer.chat_template": TEMPLATE.read_text(encoding="utf-8")}
    for name, field in reader.fields.items():
        if name.startswith(LEFT_OUT):
            continue
        value = changed.get(name, field.contents())
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, field.types[0])


def main() -> None:
    """Merge an adapter into the base and write a model that the engine serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("adapter", type=pathlib.Path, help="an adapter, or the checkpoint of a run: its average")
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    adapter = lora.load(arguments.adapter)
    if arguments.out.suffix == ".gguf":
        merge(arguments.base, adapter, arguments.out)
        return
    from renga.models.engine.loading.gguf import convert

    arguments.out.mkdir(parents=True, exist_ok=True)
    if any(arguments.out.iterdir()):
        sys.exit(f"{arguments.out} is not empty")
    with tempfile.TemporaryDirectory(dir=arguments.out.parent) as scratch:
        merged = pathlib.Path(scratch, "merged.gguf")
        merge(arguments.base, adapter, merged)
        convert(merged, arguments.out)


if __name__ == "__main__":
    main()
