"""What `--model` names, made into something that can be served.

Owns: finding, fetching, converting and caching models; the shape of the cache folder.
Must never know: requests, HTTP routes, how a model is run.
Invariants: nothing is fetched unless a user named a hub id; a cache entry is complete or absent.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from renga.errors import ConfigError
from renga.models.engine.ipc import EngineConfig
from renga.models.engine.loading.model_cache import create_cached_folder
from renga.models.engine.text import detokenizer
from renga.models.engine.text.chat_template import PLAIN_TEMPLATE, ChatTemplate
from renga.models.engine.text.families import Family
from renga.models.engine.text.vocabulary import Vocabulary

HOKKU_PACKAGE = Path(__file__).parents[2] / "weights" / "hokku" / "hokku.zip"

KV_BLOCK_TOKENS = 32
"""Tokens of one key-value block on CPU (measured, openvino-genai 2026.4.1)."""
_KV_BYTES_PER_VALUE = 2
"""At most: 8-bit caches take less, and `cache_bytes` is an upper bound."""
_STEP_WEIGHT_BYTES = 10_000_000_000
"""Weight bytes x tokens that 2 cores work through in about 150 ms; keeps one step, and so a cancel, under 200 ms."""
_CHUNKS_A_STEP = 8
"""A background prompt's chunk is this part of a step: for hokku 64 tokens and 3 ms, where 512 take 16
(docs/log/batches.md). In chunks a prompt takes about one and a half times as long."""

_HUB_ID = re.compile(
    r"[a-z0-9][\w.-]*/[a-z0-9][\w.-]*(?<!\.gguf)(?<!\.zip)(/[\w./-]+\.gguf)?", re.ASCII | re.IGNORECASE
)
"""owner/repository, or owner/repository/file.gguf; `./x.gguf` and `models/x.gguf` are files that are not there."""
_HUB_FILES = ("openvino_model.*", "*.json", "*.jinja")


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
    """What the model was made for; `launch` may allow less."""
    stop_token_ids: tuple[int, ...]
    vocabulary_size: int
    """Number of the model's logits: that of its tokens, or more."""
    kv_bytes_per_token: int
    """Key-value cache of one token, at most; 0 if the model does not say."""
    sampling: Sampling = Sampling()
    precision: str = ""
    """`f32` for a model whose config.json says so (`dtype`): bfloat16 is not exact enough for it."""

    def launch(self, *, cache_bytes: int = 1 << 30, threads: int = 0) -> EngineConfig:
        """How its engine process is started; `msgspec.structs.replace` what else should differ."""
        cache_blocks = cache_bytes // (self.kv_bytes_per_token * KV_BLOCK_TOKENS) if self.kv_bytes_per_token else 0
        cached_tokens = cache_blocks * KV_BLOCK_TOKENS or self.context_tokens
        weight_bytes = (self.folder / "openvino_model.bin").stat().st_size
        fitting_tokens = max(KV_BLOCK_TOKENS, min(512, _STEP_WEIGHT_BYTES // weight_bytes))
        step_tokens = 1 << (fitting_tokens.bit_length() - 1)
        key = hashlib.sha256((self.folder / "tokenizer.json").read_bytes())
        key.update(f"{self.vocabulary_size} {detokenizer.FORMAT}".encode())
        return EngineConfig(
            model_folder=str(self.folder),
            vocabulary_folder=str(self.cache_folder / "vocabularies" / key.hexdigest()[:16]),
            vocabulary_size=self.vocabulary_size,
            stop_token_ids=self.stop_token_ids,
            context_tokens=min(self.context_tokens, cached_tokens),
            max_batched_tokens=step_tokens,
            prefill_chunk_tokens=max(KV_BLOCK_TOKENS, step_tokens // _CHUNKS_A_STEP),
            cache_blocks=cache_blocks,
            threads=threads,
            precision=self.precision,
        )


def name_model(setting: str) -> str:
    """How clients name the model that a setting means: `hokku`, a file's stem, a folder's name, a hub id's last part.

    Cost: no I/O but a look whether there is such a folder; nothing is loaded.
    """
    path = Path(setting).expanduser()
    if path.suffix in (".zip", ".gguf"):
        return path.stem
    return path.resolve().name if path.is_dir() else setting.rpartition("/")[2]


def refuse_missing(setting: str) -> None:
    """Refuse what is neither hokku, nor there, nor a hub id. Cost: no I/O but a look whether there is such a file.

    Raises: ConfigError that says what to do.
    """
    if setting != "hokku" and not Path(setting).expanduser().exists() and not _HUB_ID.fullmatch(setting):
        raise ConfigError(
            f"there is no model {setting!r}",
            hint="give hokku, a .gguf file, an OpenVINO folder, or a hub id such as OpenVINO/Qwen3-0.6B-int8-ov",
        )


def load_model(name: str = "hokku", *, cache_folder: Path | None = None) -> Model:
    """Resolve what a user named: `hokku`, a zip package, an OpenVINO folder, a .gguf file or a hub id.

    Blocking; a hub id or a first GGUF takes long and reports its progress on stderr.
    Raises: ConfigError that says what to do.
    """
    cache = cache_folder or platformdirs.user_cache_path("renga")
    if name == "hokku":
        return _read_folder("hokku", _unpack(HOKKU_PACKAGE, cache), cache)
    refuse_missing(name)
    path = Path(name).expanduser()
    if not path.exists():
        path = _fetch(name)
    if path.is_dir():
        return _read_folder(name_model(name), path, cache)
    make = {".zip": _unpack, ".gguf": _convert}.get(path.suffix)
    if make is None:
        raise ConfigError(f"{path} is neither a folder, a .gguf file nor a .zip package")
    return _read_folder(name_model(name), make(path, cache), cache)


def _unpack(package: Path, cache: Path) -> Path:
    """Unpack a model package into the cache; its members are stored, so this is a copy."""
    if not package.is_file():
        raise ConfigError(
            f"the model package {package} is missing", hint="python -m training makes hokku; see training/"
        )

    def make(folder: Path) -> None:
        try:
            with zipfile.ZipFile(package) as archive:
                archive.extractall(folder)
        except zipfile.BadZipFile as error:
            raise ConfigError(f"{package} is not a zip file") from error

    return _keep(package, cache, make)


def _convert(source: Path, cache: Path) -> Path:
    """Convert a GGUF file into the cache, in a process of its own."""

    def make(folder: Path) -> None:
        print(f"renga: converting {source.name}, once; this takes some seconds", file=sys.stderr)
        command = [sys.executable, "-m", "renga.models.engine.loading.gguf", str(source), str(folder)]
        outcome = subprocess.run(command, capture_output=True, text=True, check=False)
        if outcome.returncode:
            raise ConfigError(
                outcome.stderr.strip().splitlines()[-1] if outcome.stderr else f"{source}: conversion failed"
            )

    return _keep(source, cache, make)


def _keep(source: Path, cache: Path, make: Callable[[Path], None]) -> Path:
    """Give the cache entry of a source file, made if it is absent; a changed file gets a new entry.

    The entry is keyed by the file's path, size and time of change.
    """
    facts = source.stat()
    key = hashlib.sha256(f"{source.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:16]
    try:
        return create_cached_folder(cache / "models" / f"{source.stem}-{key}", make)
    except OSError as error:
        raise ConfigError(
            f"cannot keep the model in {cache}: {error.strerror}",
            hint="make room or give yourself the right to write there, or set XDG_CACHE_HOME to another folder",
        ) from error


def _fetch(name: str) -> Path:
    """Download a model from the hub, with a progress bar; a broken download resumes.

    Raises: ConfigError if there is no such model, it is not in a form that Renga runs, or the hub cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    hub: Any = huggingface_hub
    owner, repository, *file = name.split("/", 2)
    try:
        if file:
            return Path(hub.hf_hub_download(f"{owner}/{repository}", file[0]))
        folder = Path(hub.snapshot_download(f"{owner}/{repository}", allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{name} cannot be downloaded: {reason}", hint="look at the name and the network; a broken download resumes"
        ) from error
    if not (folder / "openvino_model.xml").exists():
        raise ConfigError(
            f"{name} has no OpenVINO model",
            hint="take one from the OpenVINO organisation on the hub, or name a file: owner/repository/file.gguf",
        )
    return folder


def _read_folder(name: str, folder: Path, cache: Path) -> Model:
    """Read a folder with an OpenVINO model and the files of a Hugging Face folder.

    Raises: ConfigError naming the file that is missing or broken.
    """
    for needed in ("openvino_model.xml", "openvino_model.bin", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise ConfigError(f"{folder} has no {needed}", hint="optimum-cli export openvino makes such a folder")
    config = _read_json(folder / "config.json")
    tokenizer_config = _read_json(folder / "tokenizer_config.json")
    vocabulary = Vocabulary.load(folder / "tokenizer.json")
    source = _read_template(folder, tokenizer_config)
    variables = {
        key: _content(tokenizer_config[key]) for key in ("bos_token", "eos_token") if tokenizer_config.get(key)
    }
    generation = _read_json(folder / "generation_config.json")
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
        precision="f32" if config.get("dtype", config.get("torch_dtype")) == "float32" else "",
    )


def _flatten(ends: list[int | list[int] | None]) -> tuple[int, ...]:
    """The end tokens, which the files give as one, several or none."""
    lists = [end if isinstance(end, list) else [end] for end in ends if end is not None]
    return tuple(sorted({token_id for token_ids in lists for token_id in token_ids}))


def _read_json(path: Path) -> dict[str, Any]:
    """Read one of a model's small files; an absent one is empty."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


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
