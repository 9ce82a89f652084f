"""A Llama network so small that a test can train it, as arrays and as a GGUF file."""

import pathlib
from random import Random

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from training.tuning.chatml import END
from training.tuning.weights.base import MATRICES, NORMS, Shape, pairs_from_halves

SHAPE = Shape(
    layers=2,
    width=32,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_width=8,
    vocabulary=600,
    rope_base=10000.0,
    epsilon=1e-5,
)
SIZES = {"q": (32, 32), "k": (16, 32), "v": (16, 32), "o": (32, 32), "gate": (64, 32), "up": (64, 32), "down": (32, 64)}


def make_weights(seed: int = 0) -> dict[str, numpy.ndarray]:
    """Random weights under the network's names."""
    generator = numpy.random.default_rng(seed)
    weights = {
        "embedding": generator.standard_normal((SHAPE.vocabulary, SHAPE.width), numpy.float32) * 0.5,
        "norm": numpy.ones(SHAPE.width, numpy.float32),
    }
    for layer in range(SHAPE.layers):
        for norm in NORMS.values():
            weights[f"layers.{layer}.{norm}"] = numpy.ones(SHAPE.width, numpy.float32)
        for name in MATRICES.values():
            size = SIZES[name]
            weights[f"layers.{layer}.{name}"] = generator.standard_normal(size, numpy.float32) / size[1] ** 0.5
    return weights


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE with the three tokens that ChatML needs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE.vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    random = Random(0)
    words = [
        "system",
        "user",
        "assistant",
        "tool",
        "tool_call",
        "name",
        "arguments",
        "city",
        "Brookneal",
        "You are helpful",
    ]
    syllables = ["ba", "be", "bi", "bo", "bu", "da", "de", "di", "do", "du", "ka", "ke", "ki", "ko", "ku"]
    words += ["".join(random.choices(syllables, k=3)) for _ in range(400)]
    tokenizer.train_from_iterator([" ".join(random.choices(words, k=8)) for _ in range(600)], trainer)
    return tokenizer


def write_gguf(path: pathlib.Path, weights: dict[str, numpy.ndarray], tokenizer: Tokenizer) -> None:
    """A base as it comes: matrices in Q8_0, queries and keys in llama.cpp's order, a template of its own."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    tokens += [f"[unused{index}]" for index in range(SHAPE.vocabulary - len(tokens))]
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(SHAPE.layers)
    writer.add_context_length(512)
    writer.add_embedding_length(SHAPE.width)
    writer.add_feed_forward_length(SHAPE.hidden)
    writer.add_head_count(SHAPE.heads)
    writer.add_head_count_kv(SHAPE.kv_heads)
    writer.add_rope_freq_base(SHAPE.rope_base)
    writer.add_layer_norm_rms_eps(SHAPE.epsilon)
    writer.add_file_type(7)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(_merges(tokenizer))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages[0].content }}")
    for name, array in weights.items():
        stored = _as_stored(name, array)
        if array.ndim == 1:
            writer.add_tensor(_foreign(name), stored)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(_foreign(name), quantize(stored, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _merges(tokenizer: Tokenizer) -> list[str]:
    import json

    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def _foreign(name: str) -> str:
    if name in ("embedding", "norm"):
        return {"embedding": "token_embd.weight", "norm": "output_norm.weight"}[name]
    _, layer, part = name.split(".")
    known = {ours: theirs for theirs, ours in (MATRICES | NORMS).items()}
    return f"blk.{layer}.{known[part]}.weight"


def _as_stored(name: str, array: numpy.ndarray) -> numpy.ndarray:
    heads = {"q": SHAPE.heads, "k": SHAPE.kv_heads}.get(name.rpartition(".")[2])
    return numpy.ascontiguousarray(array if heads is None else pairs_from_halves(array, heads))
