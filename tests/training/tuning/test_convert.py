"""A merged model is a GGUF with our template, whose weights are the base's and what the adapter changes."""

import pathlib

import numpy
import pytest

from .small import SHAPE, make_tokenizer, make_weights, write_gguf


def _adapter(weights: dict[str, numpy.ndarray]):
    generator = numpy.random.default_rng(1)
    adapter: dict[str, numpy.ndarray] = {}
    for name, matrix in weights.items():
        if matrix.ndim == 2 and name != "embedding":
            rows, columns = matrix.shape
            adapter[f"{name}.A"] = generator.standard_normal((4, columns)).astype(numpy.float32)
            adapter[f"{name}.B"] = generator.standard_normal((rows, 4)).astype(numpy.float32) * 0.02
    return adapter


def test_a_merged_gguf_holds_the_change_and_the_template(tmp_path: pathlib.Path) -> None:
    from training.tuning.chatml import TEMPLATE
    from training.tuning.weights import lora
    from training.tuning.weights.base import read_gguf
    from training.tuning.weights.convert import merge

    from renga.models.engine.loading.gguf import build_tokenizer_json, read_metadata

    weights = make_weights()
    write_gguf(tmp_path / "base.gguf", weights, make_tokenizer())
    adapter = _adapter(weights)
    merge(tmp_path / "base.gguf", adapter, tmp_path / "merged.gguf")
    _, merged = read_gguf(tmp_path / "merged.gguf")
    for name, array in weights.items():
        expected = array + lora.change(adapter, name) if f"{name}.A" in adapter else array
        assert numpy.allclose(merged[name], expected, atol=0.02 * numpy.abs(expected).max()), name
    metadata = read_metadata(tmp_path / "merged.gguf")
    assert metadata["tokenizer.chat_template"] == TEMPLATE.read_text(encoding="utf-8")
    assert build_tokenizer_json(metadata) == build_tokenizer_json(read_metadata(tmp_path / "base.gguf"))


def test_openvino_answers_as_the_network_that_was_tuned(tmp_path: pathlib.Path) -> None:
    """Rows in llama.cpp's order, rotary positions, shared keys, eight bits: a mistake in any would show here."""
    from training.tuning.generate import generate_tokens
    from training.tuning.weights.convert import merge
    from training.tuning.weights.lora import put
    from training.tuning.weights.network import Network

    from renga.models.engine.loading.gguf import convert

    torch = pytest.importorskip("torch", reason="the training extra is not installed")
    weights = make_weights()
    adapter = _adapter(weights)
    write_gguf(tmp_path / "base.gguf", weights, make_tokenizer())
    merge(tmp_path / "base.gguf", adapter, tmp_path / "merged.gguf")
    (tmp_path / "served").mkdir()
    convert(tmp_path / "merged.gguf", tmp_path / "served")
    network = Network(SHAPE, weights, rank=4, alpha=32)
    put(network, adapter)
    prompt = list(range(40, 60))
    (written,) = generate_tokens(tmp_path / "served", [prompt], end=2, longest_tokens=8)
    with torch.no_grad():
        tokens = torch.tensor([prompt + written])
        wanted = torch.zeros_like(tokens, dtype=torch.bool)
        wanted[0, len(prompt) - 1 : -1] = True
        logits = network(tokens, wanted)
    for token, row in zip(written, logits, strict=True):
        assert row[token] > row.max() - 0.15 * row.std()
