"""A merged model is a GGUF with our template, whose weights are the base's and what the adapter changes."""

import pathlib

import numpy

from .small import make_tokenizer, make_weights, write_gguf


def test_a_merged_gguf_holds_the_change_and_the_template(tmp_path: pathlib.Path) -> None:
    from training.tuning.base import read_gguf
    from training.tuning.chatml import TEMPLATE
    from training.tuning.convert import merge

    from renga.engine.gguf import build_tokenizer_json, read_metadata
    from training.tuning import lora

    weights, generator = make_weights(), numpy.random.default_rng(1)
    write_gguf(tmp_path / "base.gguf", weights, make_tokenizer())
    adapter: lora.Adapter = {}
    for name in ("layers.0.q", "layers.1.down"):
        rows, columns = weights[name].shape
        adapter[f"{name}.A"] = generator.standard_normal((4, columns)).astype(numpy.float32)
        adapter[f"{name}.B"] = generator.standard_normal((rows, 4)).astype(numpy.float32) * 0.05
    merge(tmp_path / "base.gguf", adapter, tmp_path / "merged.gguf")
    _, merged = read_gguf(tmp_path / "merged.gguf")
    for name, array in weights.items():
        expected = array + lora.change(adapter, name) if f"{name}.A" in adapter else array
        assert numpy.allclose(merged[name], expected, atol=0.02 * numpy.abs(expected).max()), name
    metadata = read_metadata(tmp_path / "merged.gguf")
    assert metadata["tokenizer.chat_template"] == TEMPLATE.read_text(encoding="utf-8")
    assert build_tokenizer_json(metadata) == build_tokenizer_json(read_metadata(tmp_path / "base.gguf"))
