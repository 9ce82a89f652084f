"""python -m training.export: a checkpoint to the one file that the engine loads.

Owns:   hokku.zip: its members, their order, and that the same checkpoint always gives the same bytes.
"""

import argparse
import json
import pathlib
import tempfile
import zipfile
from typing import Any

import numpy

from training.network.graph import Weights, build_graph, save_graph
from training.network.model import Hokku
from training.train import load_model

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "src/renga/models/weights/hokku"
MEMBERS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "openvino_model.xml",
    "openvino_model.bin",
)
LONGEST_TOKENS = 200_000
FREQUENCY_PENALTY = 0.1
"""Against loops; in objects and calls it changes one answer in a hundred (training/log.md)."""
END_TOKEN = "<|end|>"  # noqa: S105 - no password


def gather_weights(model: Hokku) -> Weights:
    """The network's arrays by name; the shared embedding becomes one plain table."""
    weights = {name: value.detach().float().numpy() for name, value in model.named_parameters()}
    weights["table"] = model.embedding.table().detach().float().numpy()
    if model.matching is not None:
        weights["matching.table"] = model.matching.base[model.embedding.groups].detach().float().numpy()
    return weights


def write_folder(checkpoint: pathlib.Path, folder: pathlib.Path, *, bits: int = 8) -> None:
    """Write the files of a Hugging Face folder with an OpenVINO graph."""
    model, _ = load_model(checkpoint)
    save_graph(build_graph(model.shape, gather_weights(model), bits=bits), str(folder / "openvino_model.xml"))
    tokenizer_text = (checkpoint.parent / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer_text, encoding="utf-8")
    template = (PACKAGE / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    ids = {token["content"]: token["id"] for token in json.loads(tokenizer_text)["added_tokens"]}
    for name, value in _configs(model, ids, template).items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _configs(model: Hokku, ids: dict[str, int], template: str) -> dict[str, dict[str, Any]]:
    shape = model.shape
    return {
        "config.json": {
            "model_type": "hokku",
            "dtype": "float32",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.d_model,
            "intermediate_size": shape.hidden,
            "num_hidden_layers": len(shape.attention_layers) + (3 if shape.matching_d_model else 0),
            "num_blocks": shape.blocks,
            "attention_layers": list(shape.attention_layers),
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "rope_theta": shape.rope_base,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "max_position_embeddings": LONGEST_TOKENS,
            "eos_token_id": ids[END_TOKEN],
            "pad_token_id": ids["<|pad|>"],
        },
        "generation_config.json": {
            "do_sample": False,
            "frequency_penalty": FREQUENCY_PENALTY,
            "eos_token_id": ids[END_TOKEN],
            "pad_token_id": ids["<|pad|>"],
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_TOKEN,
            "pad_token": "<|pad|>",
            "model_max_length": LONGEST_TOKENS,
            "clean_up_tokenization_spaces": False,
            "chat_template": template,
        },
    }


def write_package(folder: pathlib.Path, package: pathlib.Path) -> None:
    """Put the folder's files into one zip, stored, with fixed dates and order."""
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for name in MEMBERS:
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (folder / name).read_bytes())


def compare_logits(model: Hokku, folder: pathlib.Path, tokens: numpy.ndarray) -> numpy.ndarray:
    """How far the graph's logits are from PyTorch's, in float32. Shapes: (B, T) int64 -> (B, T, vocabulary)."""
    import openvino
    import torch

    expected = model.logits(torch.from_numpy(tokens)).detach().numpy()
    compiled = openvino.Core().compile_model(
        str(folder / "openvino_model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    positions = numpy.broadcast_to(numpy.arange(tokens.shape[1]), tokens.shape).copy()
    outputs = compiled(
        {
            "input_ids": tokens,
            "attention_mask": numpy.ones_like(tokens),
            "position_ids": positions,
            "beam_idx": numpy.arange(len(tokens), dtype=numpy.int32),
        }
    )
    return numpy.abs(outputs["logits"] - expected)


def main() -> None:
    """Export a checkpoint, and print how far its logits are from the network's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path("runs/xs/checkpoint.pt"))
    parser.add_argument("--package", type=pathlib.Path, default=PACKAGE / "hokku.zip")
    arguments = parser.parse_args()
    model, state = load_model(arguments.checkpoint)
    tokens = numpy.random.default_rng(0).integers(12, model.shape.vocabulary, (2, 200))
    for bits in (32, 8):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_folder(arguments.checkpoint, folder, bits=bits)
            apart = compare_logits(model, folder, tokens)
            print(f"{bits:2d} bits: |logit difference| at most {apart.max():.5f}, {apart.mean():.5f} on average")
            if bits == 8:
                write_package(folder, arguments.package)
    size_mb = arguments.package.stat().st_size / 1e6
    print(f"{arguments.package.name}: {size_mb:.1f} MB, step {state['progress']['step']}")


if __name__ == "__main__":
    main()
