"""GGUF files, converted once into what OpenVINO loads fast.

Owns: reading a GGUF's metadata, its tokenizer as a `tokenizer.json`, and the conversion of its weights.
Must never know: requests, where the result is cached.
Invariants: the folder that comes out has the files of a Hugging Face folder, so that nothing after this knows of GGUF.

Run as `python -m renga.models.engine.loading.gguf FILE FOLDER`: the conversion needs several times the model's size
in memory for a moment, which a server should not keep.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from renga.errors import ConfigError
from renga.models.engine.loading.detokenizer import save_detokenizer
from renga.models.engine.text.vocabulary import Vocabulary

_CONTROL, _USER_DEFINED = 3, 4
"""Source: llama.cpp, llama.h `llama_token_attr` as GGUF stores it in tokenizer.ggml.token_type."""

_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_SPLIT = _LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")

_BYTE_LEVEL: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _split_by(pattern: str) -> dict[str, Any]:
    """Write a pre-tokenizer that splits by a pattern and then spells bytes as characters."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTE_LEVEL | {"use_regex": False}]}


_PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTE_LEVEL,
    "default": _BYTE_LEVEL,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL]},
    "llama-bpe": _split_by(_LLAMA3_SPLIT),
    "llama3": _split_by(_LLAMA3_SPLIT),
    "qwen2": _split_by(_QWEN2_SPLIT),
    "qwen35": _split_by(_QWEN2_SPLIT),
    "deepseek-r1-qwen": _split_by(_QWEN2_SPLIT),
}
"""By tokenizer.ggml.pre. Source: llama.cpp, llama-vocab.cpp `llm_tokenizer_bpe`."""


def read_metadata(path: Path) -> dict[str, Any]:
    """Read a GGUF's key-value pairs, without the tensors.

    Raises: ConfigError if the file is not a whole GGUF.
    Cost:   about 1 s for a vocabulary of 100 k.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, OSError) as error:
        raise ConfigError(f"{path} is not a readable GGUF file: {error}", hint="is its download complete?") from error
    return {name: field.contents() for name, field in reader.fields.items()}


def build_tokenizer_json(metadata: dict[str, Any]) -> str:
    """Write the `tokenizer.json` that the metadata describes.

    Raises: ConfigError if the tokenizer's kind is not one that llama and qwen models use.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind not in _KINDS:
        raise ConfigError(f"the GGUF's tokenizer is {kind!r}", hint=f"Renga reads {', '.join(_KINDS)}")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    types: list[int] = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    added = [
        {"id": index, "content": token, "special": token_type == _CONTROL}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for index, (token, token_type) in enumerate(zip(tokens, types, strict=True))
        if token_type in (_CONTROL, _USER_DEFINED)
    ]
    shell = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None, "added_tokens": added}
    return json.dumps(shell | _KINDS[kind](metadata, {token: index for index, token in enumerate(tokens)}))


def _describe_byte_level(metadata: dict[str, Any], vocabulary: dict[str, int]) -> dict[str, Any]:
    """Byte-level BPE with the merges that the file lists."""
    name = metadata.get("tokenizer.ggml.pre", "default")
    if name not in _PRE_TOKENIZERS:
        raise ConfigError(f"the GGUF's pre-tokenizer is {name!r}", hint=f"Renga knows {', '.join(_PRE_TOKENIZERS)}")
    merges = [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]]
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "ignore_merges": name in ("llama-bpe", "llama3")}
    return {"normalizer": None, "pre_tokenizer": _PRE_TOKENIZERS[name], "model": model, "decoder": _BYTE_LEVEL}


def _describe_sentencepiece(metadata: dict[str, Any], vocabulary: dict[str, int]) -> dict[str, Any]:
    """Sentencepiece as BPE: two pieces merge if their join is a token, the likelier join first.

    Source: transformers, convert_slow_tokenizer.py `generate_merges`.
    """
    scores: list[float] = metadata["tokenizer.ggml.scores"]
    ranked: list[tuple[float, int, str, str]] = []
    for token, index in vocabulary.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-scores[index], cut, left, right))
    ranked.sort(key=lambda row: row[:2])
    unknown = next(
        token for token, index in vocabulary.items() if index == metadata.get("tokenizer.ggml.unknown_token_id", 0)
    )
    model = {
        "type": "BPE",
        "vocab": vocabulary,
        "merges": [[left, right] for _, _, left, right in ranked],
        "unk_token": unknown,
        "fuse_unk": True,
        "byte_fallback": True,
    }
    decoders = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    normalizer = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return {
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "model": model,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }


_KINDS: dict[str, Callable[[dict[str, Any], dict[str, int]], dict[str, Any]]] = {
    "gpt2": _describe_byte_level,
    "llama": _describe_sentencepiece,
}


def describe(metadata: dict[str, Any]) -> dict[str, str]:
    """Write the small files of a Hugging Face folder: name -> text."""
    architecture = metadata["general.architecture"]
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]

    def value(key: str, default: Any = None) -> Any:
        return metadata.get(f"{architecture}.{key}", default)

    heads = value("attention.head_count")
    config = {
        "model_type": architecture,
        "vocab_size": len(tokens),
        "max_position_embeddings": value("context_length", 2048),
        "num_hidden_layers": value("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": value("attention.head_count_kv", heads),
        "hidden_size": value("embedding_length"),
        "head_dim": value("attention.key_length", value("embedding_length") // heads),
    }
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    known = [token_id for token_id in ends if token_id is not None]
    named = {f"{name}_token": metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    tokenizer_config: dict[str, str] = {name: tokens[index] for name, index in named.items() if index is not None}
    if template := metadata.get("tokenizer.chat_template"):
        tokenizer_config["chat_template"] = template
    return {
        "config.json": json.dumps(config),
        "generation_config.json": json.dumps({"eos_token_id": known}),
        "tokenizer.json": build_tokenizer_json(metadata),
        "tokenizer_config.json": json.dumps(tokenizer_config),
    }


def convert(source: Path, folder: Path) -> None:
    """Convert a GGUF file into an existing, empty folder.

    Raises: ConfigError if it is not a model of a family that GenAI reads from GGUF.
    Cost:   4 to 7 s and twice the file's size in memory, for 135 M parameters.
    """
    import openvino_genai as genai

    for name, text in describe(read_metadata(source)).items():
        (folder / name).write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        link = Path(scratch, "model.gguf")
        link.symlink_to(source.resolve())  # GenAI saves beside the name that it was given (measured)
        words = Path(scratch, "vocabulary")
        vocabulary = Vocabulary.load(folder / "tokenizer.json")
        save_detokenizer(vocabulary, words, size=vocabulary.size)
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 1
        try:  # with a tokenizer given, GenAI does not build its own, which fails for sentencepiece (measured)
            genai.ContinuousBatchingPipeline(
                str(link), genai.Tokenizer(str(words)), scheduler, "CPU", enable_save_ov_model=True
            )
        except (RuntimeError, IndexError) as error:  # IndexError: a key that GenAI needs is not in the file
            raise ConfigError(
                f"{source} cannot be converted: {error}", hint="GGUF works for models of the llama and qwen families"
            ) from error
        for name in ("openvino_model.xml", "openvino_model.bin"):
            Path(scratch, name).rename(folder / name)


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except ConfigError as error:
        sys.exit(error.sentence())
