"""A language model's folder, made into something that can be spoken to and run.

Owns: what is read of a model's files, and how its engine process has to be set for it.
Must never know: requests, HTTP routes, how a model is run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from renga.config import EngineSettings, ModelSettings
from renga.errors import ConfigError
from renga.models.engine.ipc import EngineConfig
from renga.models.engine.loading import detokenizer
from renga.models.engine.loading.model_source import (
    find_model_folder,
    is_embedding_folder,
    name_model,
    read_json,
    read_precision,
)
from renga.models.engine.text.chat_template import PLAIN_TEMPLATE, ChatTemplate
from renga.models.engine.text.families import Family
from renga.models.engine.text.vocabulary import Vocabulary

KV_BLOCK_TOKENS = 32
"""Tokens of one key-value block on CPU (measured, openvino-genai 2026.4.1)."""
_KV_BYTES_PER_VALUE = 2
"""At most: 8-bit caches take less, and `cache_bytes` is an upper bound."""
_STEP_WEIGHT_BYTES = 10_000_000_000
"""Weight bytes x tokens that 2 cores work through in about 150 ms; keeps one step, and so a cancel, under 200 ms."""
_CHUNKS_A_STEP = 8
"""A background prompt's chunk is this part of a step: for hokku 64 tokens and 3 ms, where 512 take 16
(docs/log/batches.md). In chunks a prompt takes about one and a half times as long."""


class Sampling(msgspec.Struct, frozen=True):
    """How a model is sampled where a request does not say; its `generation_config.json` sets it."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all tokens."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for every time the answer has it; small models loop without."""
    repetition_penalty: float = 1.0
    """Divides the logits of what the prompt or the answer has, as Hugging Face defines it; 1 changes nothing."""


class Model(msgspec.Struct, frozen=True):
    """A model on disk with everything needed to speak to it."""

    name: str
    """As clients see it: `hokku`, or the stem of the file or the last part of the hub id."""
    folder: Path
    """Holds openvino_model.xml and .bin and the files of a Hugging Face folder."""
    cache_folder: Path
    vocabulary: Vocabulary
    template: ChatTemplate
    family: Family
    context_tokens: int
    """What the model was made for; `engine_config` may allow less."""
    stop_token_ids: tuple[int, ...]
    vocabulary_size: int
    """Number of the model's logits: that of its tokens, or more."""
    kv_bytes_per_token: int
    """Key-value cache of one token, at most; 0 if the model does not say."""
    sampling: Sampling = Sampling()
    precision: str = ""
    """`f32` for a model whose config.json says so (`dtype`): bfloat16 is not exact enough for it."""

    def engine_config(self, settings: ModelSettings | None = None) -> EngineConfig:
        """How its engine process is started with these settings, those of `[engine]` by default.

        `msgspec.structs.replace` what else should differ.
        """
        settings = settings or EngineSettings()
        cache_blocks = self._count_cache_blocks(settings.cache_bytes)
        cached_tokens = cache_blocks * KV_BLOCK_TOKENS or self.context_tokens
        fitting_tokens = max(KV_BLOCK_TOKENS, min(512, _STEP_WEIGHT_BYTES // self.weight_bytes))
        step_tokens = 1 << (fitting_tokens.bit_length() - 1)
        key = hashlib.sha256((self.folder / "tokenizer.json").read_bytes())
        key.update(f"{self.vocabulary_size} {detokenizer.FORMAT}".encode())
        return EngineConfig(
            model_folder=str(self.folder),
            vocabulary_folder=str(self.cache_folder / "vocabularies" / key.hexdigest()[:16]),
            vocabulary_size=self.vocabulary_size,
            stop_token_ids=self.stop_token_ids,
            context_tokens=min(self.context_tokens, cached_tokens),
            max_running=settings.max_running,
            max_background=settings.max_background,
            max_waiting=settings.max_waiting,
            max_batched_tokens=step_tokens,
            prefill_chunk_tokens=max(KV_BLOCK_TOKENS, step_tokens // _CHUNKS_A_STEP),
            cache_blocks=cache_blocks,
            threads=settings.threads,
            precision=self.precision,
        )

    @property
    def weight_bytes(self) -> int:
        """The size of the weights on disk, which is what they take in memory too."""
        return (self.folder / "openvino_model.bin").stat().st_size

    def _count_cache_blocks(self, cache_bytes: int) -> int:
        """How many key-value blocks fit into so many bytes; 0 where the model does not say how large one is."""
        return cache_bytes // (self.kv_bytes_per_token * KV_BLOCK_TOKENS) if self.kv_bytes_per_token else 0


def load_model(name: str = "hokku", *, cache_folder: Path | None = None) -> Model:
    """Resolve what a user named, as `find_model_folder` does, and read what is needed to speak to it.

    Raises: ConfigError that says what to do.
    """
    cache = cache_folder or platformdirs.user_cache_path("renga")
    return _read_folder(name_model(name), find_model_folder(name, cache), cache)


def _read_folder(name: str, folder: Path, cache: Path) -> Model:
    """Read a folder with an OpenVINO model and the files of a Hugging Face folder.

    Raises: ConfigError naming the file that is missing or broken.
    """
    for needed in ("openvino_model.xml", "openvino_model.bin", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise ConfigError(f"{folder} has no {needed}", hint="optimum-cli export openvino makes such a folder")
    if is_embedding_folder(folder):
        raise ConfigError(f"{folder} holds an embedding model, which writes no answers", hint="name a language model")
    config = read_json(folder / "config.json")
    tokenizer_config = read_json(folder / "tokenizer_config.json")
    vocabulary = Vocabulary.load(folder / "tokenizer.json")
    source = _read_template(folder, tokenizer_config)
    variables = {
        key: _content(tokenizer_config[key]) for key in ("bos_token", "eos_token") if tokenizer_config.get(key)
    }
    generation = read_json(folder / "generation_config.json")
    ends: list[int | list[int] | None] = [generation.get("eos_token_id"), config.get("eos_token_id")]
    if "eos_token" in variables:
        ends.append(vocabulary.token_id(variables["eos_token"]))
    template = ChatTemplate(source, vocabulary, variables=variables)
    return Model(
        name=name,
        folder=folder,
        cache_folder=cache,
        vocabulary=vocabulary,
        template=template,
        family=template.family,
        context_tokens=config.get("max_position_embeddings", 2048),
        stop_token_ids=_flatten(ends),
        vocabulary_size=max(vocabulary.size, config.get("vocab_size", 0)),
        kv_bytes_per_token=_measure_kv(config),
        sampling=_read_sampling(generation),
        precision=read_precision(config),
    )


def _flatten(ends: list[int | list[int] | None]) -> tuple[int, ...]:
    """The end tokens, which the files give as one, several or none."""
    lists = [end if isinstance(end, list) else [end] for end in ends if end is not None]
    return tuple(sorted({token_id for token_ids in lists for token_id in token_ids}))


def _read_sampling(generation: dict[str, Any]) -> Sampling:
    """The model's own defaults. A config that turns sampling off means greedy."""
    if generation.get("do_sample") is False:
        generation = {**generation, "temperature": 0.0, "top_p": 1.0, "top_k": 0}
    return Sampling(
        temperature=float(generation.get("temperature", 1.0)),
        top_p=float(generation.get("top_p", 1.0)),
        top_k=int(generation.get("top_k", 0)),
        frequency_penalty=float(generation.get("frequency_penalty", 0.0)),
        repetition_penalty=float(generation.get("repetition_penalty", 1.0)),
    )


def _read_template(folder: Path, tokenizer_config: dict[str, Any]) -> str:
    """Find a model's chat template; a model without one gets a plain dialogue."""
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    template: str | list[dict[str, str]] = tokenizer_config.get("chat_template") or PLAIN_TEMPLATE
    if isinstance(template, str):
        return template
    named = {row["name"]: row["template"] for row in template}  # several: the default speaks to people
    return named.get("default", PLAIN_TEMPLATE)


def _content(token: str | dict[str, Any]) -> str:
    """A token's text, which Hugging Face writes bare or in a record."""
    return token if isinstance(token, str) else token["content"]


def _measure_kv(config: dict[str, Any]) -> int:
    """Bytes of key-value cache a token, from the model's shape; 0 if config.json does not give it."""
    heads = config.get("num_attention_heads")
    layers = config.get("num_hidden_layers")
    if not heads or not layers:
        return 0
    head_values = config.get("head_dim") or config["hidden_size"] // heads
    return 2 * layers * config.get("num_key_value_heads", heads) * head_values * _KV_BYTES_PER_VALUE
