"""The network, its adapters and the run: small ones, on random weights."""

import pathlib

import numpy
import pytest

from .small import SHAPE, make_tokenizer, make_weights, write_gguf

torch = pytest.importorskip("torch", reason="the training extra is not installed")


def _network(seed: int = 0, rank: int = 4):
    from training.tuning.weights.network import Network

    torch.manual_seed(seed)
    return Network(SHAPE, make_weights(), rank=rank, alpha=8)


def _loosen(network) -> None:
    """Adapters that change something."""
    with torch.no_grad():
        for _, _, up in network.adapted():
            up.normal_(std=0.3)


def test_a_later_token_changes_nothing_before_it() -> None:
    network = _network()
    tokens = torch.randint(0, SHAPE.vocabulary, (2, 12))
    other = tokens.clone()
    other[:, 8:] = 1
    wanted = torch.zeros_like(tokens, dtype=torch.bool)
    wanted[:, :8] = True
    with torch.no_grad():
        assert torch.equal(network(tokens, wanted), network(other, wanted))


def test_attention_is_what_pytorch_computes() -> None:
    from training.tuning.weights.network import Layer, _rotate

    network = _network()
    layer, length = network.layers[0], 9
    assert isinstance(layer, Layer)
    x = torch.randn(2 * length, SHAPE.width).to(torch.bfloat16)
    rotation = network._rotation(length)
    mask = torch.full((length, length), -torch.inf, dtype=torch.bfloat16).triu(1).expand(2, -1, -1)
    q, k, v = layer.qkv(x).view(2, length, -1).split([32, 16, 16], dim=-1)
    q, k = (_rotate(part.reshape(2, length, -1, 8), rotation).transpose(1, 2).float() for part in (q, k))
    v = v.reshape(2, length, -1, 8).transpose(1, 2).float()
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    found = layer._attend(x, rotation, mask).view(2, length, 4, 8).transpose(1, 2).float()
    assert torch.allclose(found, expected, atol=0.05)


def test_gradients_of_adapters_are_right() -> None:
    from training.tuning.weights.network import LowRankProduct

    parts = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in ((5, 6), (7, 6), (2, 6), (7, 2))]
    x, weight, down, up = parts
    weight = weight.detach()
    assert torch.autograd.gradcheck(LowRankProduct.apply, (x, weight, down, up))


def test_merged_weights_give_the_same_answers() -> None:
    from training.tuning.weights import lora
    from training.tuning.weights.network import Network

    network = _network()
    _loosen(network)
    adapter, weights = lora.take(network), make_weights()
    for name, _, _ in network.adapted():
        weights[name] = weights[name] + lora.change(adapter, name, alpha=8)
    tokens = torch.randint(0, SHAPE.vocabulary, (1, 12))
    wanted = torch.ones_like(tokens, dtype=torch.bool)
    with torch.no_grad():
        assert torch.allclose(network(tokens, wanted), Network(SHAPE, weights)(tokens, wanted), atol=0.3)


def test_adapters_survive_eight_bits_and_the_mean_of_one(tmp_path: pathlib.Path) -> None:
    from training.tuning.weights import lora

    network = _network()
    _loosen(network)
    adapter = lora.take(network)
    lora.write_int8(adapter, tmp_path / "adapter.npz")
    rounded = lora.load(tmp_path / "adapter.npz")
    assert rounded.keys() == adapter.keys()
    again = lora.mean([adapter, adapter], alpha=8, rank=4)
    for name in {key[:-2] for key in adapter}:
        exact = lora.change(adapter, name, alpha=8)
        assert numpy.allclose(lora.change(rounded, name, alpha=8), exact, atol=0.03 * numpy.abs(exact).max())
        assert numpy.allclose(lora.change(again, name, alpha=8), exact, atol=1e-4)


def test_a_gguf_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    from training.tuning.weights.base import read_gguf

    weights = make_weights()
    write_gguf(tmp_path / "base.gguf", weights, make_tokenizer())
    shape, read = read_gguf(tmp_path / "base.gguf")
    assert shape.layers == SHAPE.layers and shape.head_width == SHAPE.head_width
    assert read.keys() == weights.keys()
    for name, array in weights.items():
        assert numpy.allclose(read[name], array, atol=0.02 * numpy.abs(array).max()), name
