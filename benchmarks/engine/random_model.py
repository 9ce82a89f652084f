"""Models of llama's shape with random weights, as GGUF files: for measuring speed and for tests.

Such a model says nothing, but it takes as long as a trained one of its shape, and it is made in seconds.

    python -m benchmarks.engine.random_model TOKENIZER_JSON OUT.gguf  # 135 M parameters, SmolLM2's shape
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import msgspec
import numpy as np

_FILE_TYPES = {
    gguf.GGMLQuantizationType.F16: gguf.LlamaFileType.MOSTLY_F16,
    gguf.GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}


class Shape(msgspec.Struct, frozen=True):
    """A llama's measures. The default is SmolLM2-135M's."""

    layers: int = 30
    width: int = 576
    heads: int = 9
    kv_heads: int = 3
    ffn_width: int = 1536
    context_tokens: int = 16384
    quantization: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q8_0


class Words(msgspec.Struct, frozen=True):
    """A byte-level tokenizer, as GGUF keeps it."""

    tokens: list[str]
    merges: list[str]
    types: list[int]
    end_id: int
    chat_template: str


def read_words(tokenizer_json: Path, *, end: str, chat_template: str) -> Words:
    """Read a byte-level BPE `tokenizer.json`."""
    definition = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    added = {token["id"]: token for token in definition["added_tokens"]}
    ids = dict(definition["model"]["vocab"]) | {token["content"]: index for index, token in added.items()}
    tokens = [token for token, _ in sorted(ids.items(), key=lambda item: item[1])]
    types = [1 if index not in added else 3 if added[index]["special"] else 4 for index in range(len(tokens))]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in definition["model"]["merges"]]
    return Words(tokens, merges, types, ids[end], chat_template)


def extend_words(words: Words, *, specials: tuple[str, ...], count: int) -> Words:
    """Add special tokens, and then tokens that no text is ever made of, until there are so many; the last special ends.

    A model's speed depends on how many tokens it chooses from, whichever they are.
    """
    tokens = [*words.tokens, *specials]
    unused = [f"unused{number}" for number in range(count - len(tokens))]
    types = [*words.types, *(3 for _ in specials), *(1 for _ in unused)]
    return msgspec.structs.replace(words, tokens=[*tokens, *unused], types=types, end_id=len(tokens) - 1)


def write_gguf(path: Path, shape: Shape, words: Words, *, seed: int = 0) -> None:
    """Write the file. Same arguments, same bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn_width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_file_type(_FILE_TYPES[shape.quantization])
    writer.add_vocab_size(len(words.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words.tokens)
    writer.add_token_merges(words.merges)
    writer.add_token_types(words.types)
    writer.add_eos_token_id(words.end_id)
    writer.add_chat_template(words.chat_template)
    _add_tensors(writer, shape, len(words.tokens), np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: gguf.GGUFWriter, shape: Shape, vocabulary_size: int, random: np.random.Generator) -> None:
    kv_width = shape.width // shape.heads * shape.kv_heads
    matrices = {
        "attn_q": (shape.width, shape.width),
        "attn_k": (kv_width, shape.width),
        "attn_v": (kv_width, shape.width),
        "attn_output": (shape.width, shape.width),
        "ffn_gate": (shape.ffn_width, shape.width),
        "ffn_up": (shape.ffn_width, shape.width),
        "ffn_down": (shape.width, shape.ffn_width),
    }

    def add_matrix(name: str, rows: int, columns: int) -> None:
        values = random.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)
        data = gguf.quants.quantize(values, shape.quantization)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=shape.quantization)

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(shape.width, np.float32))

    add_matrix("token_embd", vocabulary_size, shape.width)
    add_norm("output_norm")
    for layer in range(shape.layers):
        add_norm(f"blk.{layer}.attn_norm")
        add_norm(f"blk.{layer}.ffn_norm")
        for name, (rows, columns) in matrices.items():
            add_matrix(f"blk.{layer}.{name}", rows, columns)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


if __name__ == "__main__":
    write_gguf(Path(sys.argv[2]), Shape(), read_words(Path(sys.argv[1]), end="<|im_end|>", chat_template=CHATML))
