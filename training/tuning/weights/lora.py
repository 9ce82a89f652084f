"""Adapters: kept, rounded to eight bits, and merged into the base.

Owns:   the names and forms that adapters have on disk. An adapter is {"layers.N.q.A": (rank, inputs), "layers.N.q.B":
        (outputs, rank), ...}; W + alpha / rank * B A is the tuned matrix.
Knows:  nothing of how an adapter is learned. Only the functions that name a network need torch.
"""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from training.tuning.weights.network import Network

Adapter = dict[str, numpy.ndarray]
RANK, ALPHA = 16, 32
_FOREIGN = re.compile(r"model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)_proj\.([AB])")


def take(network: Network) -> Adapter:
    """Copy a network's adapters."""
    found: Adapter = {}
    for name, down, up in network.adapted():
        found[f"{name}.A"], found[f"{name}.B"] = down.detach().numpy().copy(), up.detach().numpy().copy()
    return found


def put(network: Network, adapter: Adapter) -> None:
    """Give a network these adapters."""
    import torch

    with torch.no_grad():
        for name, down, up in network.adapted():
            down.copy_(torch.from_numpy(adapter[f"{name}.A"].astype(numpy.float32)))
            up.copy_(torch.from_numpy(adapter[f"{name}.B"].astype(numpy.float32)))


def load(path: pathlib.Path) -> Adapter:
    """Read an adapter: eight bits (.npz), or PyTorch's file (.pt) with our names or with those of transformers."""
    if path.suffix == ".npz":
        return read_int8(path)
    import torch

    stored = torch.load(path, weights_only=True)
    stored = stored.get("average", stored)
    return {_our_name(name): tensor.float().numpy() for name, tensor in stored.items()}


def _our_name(name: str) -> str:
    match = _FOREIGN.fullmatch(name)
    return f"layers.{match[1]}.{match[2]}.{match[3]}" if match else name


def write_int8(adapter: Adapter, path: pathlib.Path) -> None:
    """Write every matrix as whole numbers of eight bits with a scale for each rank: the rows of A, the columns of B."""
    stored: Adapter = {}
    for name, matrix in adapter.items():
        axis = 1 if name.endswith(".A") else 0
        scale = numpy.abs(matrix).max(axis=axis, keepdims=True) / 127
        scale[scale == 0] = 1
        stored[name] = numpy.round(matrix / scale).astype(numpy.int8)
        stored[f"{name}.scale"] = scale.astype(numpy.float32)
    unfinished = path.with_suffix(".part.npz")
    numpy.savez_compressed(unfinished, allow_pickle=False, **stored)
    unfinished.replace(path)


def read_int8(path: pathlib.Path) -> Adapter:
    """The way back of `write_int8`."""
    with numpy.load(path) as stored:
        names = [name for name in stored.files if not name.endswith(".scale")]
        return {name: stored[name].astype(numpy.float32) * stored[f"{name}.scale"] for name in names}


def change(adapter: Adapter, name: str, *, alpha: float = ALPHA) -> numpy.ndarray:
    """What an adapter adds to a matrix of the base."""
    down, up = adapter[f"{name}.A"], adapter[f"{name}.B"]
    return (alpha / down.shape[0]) * (up @ down)


def mean(adapters: list[Adapter], *, alpha: float = ALPHA, rank: int = RANK) -> Adapter:
    """The mean of what adapters change, again of one rank: the best approximation in least squares."""
    result: Adapter = {}
    for name in {key[:-2] for key in adapters[0]}:
        total = sum(change(one, name, alpha=alpha) for one in adapters) / len(adapters)
        left, strength, right = numpy.linalg.svd(total, full_matrices=False)
        root = numpy.sqrt(strength[:rank] * rank / alpha)
        result[f"{name}.A"] = (root[:, None] * right[:rank]).astype(numpy.float32)
        result[f"{name}.B"] = (left[:, :rank] * root).astype(numpy.float32)
    return result
