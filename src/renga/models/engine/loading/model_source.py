"""What a setting names as a model, found on this machine, fetched or converted: the folder that holds it.

Owns: finding, fetching, unpacking and converting models, and the names by which clients know them.
Must never know: requests, HTTP routes, what is in a model's files, how a model is run.
Invariants: nothing is fetched unless a user named a hub id; a cached folder is complete or absent.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from renga.errors import ConfigError
from renga.models.engine.loading.model_cache import create_cached_folder

HOKKU_PACKAGE = Path(__file__).parents[2] / "weights" / "hokku" / "hokku.zip"

_HUB_ID = re.compile(
    r"[a-z0-9][\w.-]*/[a-z0-9][\w.-]*(?<!\.gguf)(?<!\.zip)(/[\w./-]+\.gguf)?", re.ASCII | re.IGNORECASE
)
"""owner/repository, or owner/repository/file.gguf; `./x.gguf` and `models/x.gguf` are files that are not there."""
_HUB_FILES = ("openvino_model.*", "openvino_tokenizer.*", "*.json", "*.jinja")
"""What of a repository is fetched; embedding models bring the tokenizer that they are run with."""


def read_precision(config: dict[str, Any]) -> str:
    """`f32` for a model whose config.json says so, and else empty: bfloat16 is not exact enough for every model."""
    return "f32" if config.get("dtype", config.get("torch_dtype")) == "float32" else ""


def name_model(setting: str) -> str:
    """How clients name the model that a setting means: `hokku`, a file's stem, a folder's name, a hub id's last part.

    Cost: no I/O but a look whether there is such a folder; nothing is loaded.
    """
    path = Path(setting).expanduser()
    if path.suffix in (".zip", ".gguf"):
        return path.stem
    with suppress(OSError):  # what no file system would take as a name
        if path.is_dir():
            return path.resolve().name
    return setting.rpartition("/")[2]


def refuse_missing(setting: str) -> None:
    """Refuse what is neither hokku, nor there, nor a hub id. Cost: no I/O but a look whether there is such a file.

    Raises: ConfigError that says what to do.
    """
    if setting != "hokku" and not Path(setting).expanduser().exists() and not _HUB_ID.fullmatch(setting):
        raise ConfigError(
            f"there is no model {setting!r}",
            hint="give hokku, a .gguf file, an OpenVINO folder, or a hub id such as OpenVINO/Qwen3-0.6B-int8-ov",
        )


def find_model_folder(name: str, cache_folder: Path) -> Path:
    """Give the folder of `hokku`, a zip package, an OpenVINO folder, a .gguf file or a hub id.

    Blocking; a hub id or a first GGUF takes long and reports its progress on stderr.
    Raises: ConfigError that says what to do.
    """
    if name == "hokku":
        return _unpack(HOKKU_PACKAGE, cache_folder)
    refuse_missing(name)
    path = Path(name).expanduser()
    if not path.exists():
        path = _fetch(name)
    if path.is_dir():
        return path
    make = {".zip": _unpack, ".gguf": _convert}.get(path.suffix)
    if make is None:
        raise ConfigError(f"{path} is neither a folder, a .gguf file nor a .zip package")
    return make(path, cache_folder)


def is_embedding_folder(folder: Path) -> bool:
    """Whether a folder's model turns texts into vectors: sentence-transformers says so, or its architecture does.

    Source: sentence-transformers writes `modules.json`; architectures that generate are called ...ForCausalLM or
    ...ForConditionalGeneration in Hugging Face's config.json.
    """
    if (folder / "modules.json").is_file():
        return True
    architectures: list[str] = read_json(folder / "config.json").get("architectures") or []
    return bool(architectures) and all(name.endswith("Model") for name in architectures)


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a model's small files; an absent one is empty.

    Raises: ConfigError if it is there and is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error


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

    return _create_cached(package, cache, make)


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

    return _create_cached(source, cache, make)


def _create_cached(source: Path, cache: Path, make: Callable[[Path], None]) -> Path:
    """Give the cached folder of a source file, made if it is absent; a changed file gets a new folder.

    The folder is keyed by the file's path, size and time of change.
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
