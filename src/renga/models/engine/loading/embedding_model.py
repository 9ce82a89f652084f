"""An embedding model's folder, made into something that can be run.

Owns: what is read of such a folder's files.
Must never know: requests, what vectors are used for.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import platformdirs
from msgspec import Struct

from renga.config import EngineSettings, ModelSettings
from renga.errors import ConfigError
from renga.models.engine.ipc import EngineConfig, Pooling
from renga.models.engine.loading.model_source import (
    find_model_folder,
    is_embedding_folder,
    name_model,
    read_json,
    read_precision,
)

_POOLING_KEYS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last_token",
}
"""What `1_Pooling/config.json` holds; without it the mean is taken.

Source: sentence-transformers, its module `Pooling`.
"""


class EmbeddingModel(Struct, frozen=True):
    """A model on disk that turns texts into vectors."""

    name: str
    folder: Path
    """Holds openvino_model.xml and .bin, and openvino_tokenizer.xml and .bin."""
    dimensions: int
    """Numbers of one vector; 0 if config.json does not say."""
    context_tokens: int
    vocabulary_size: int
    pooling: Pooling
    precision: str = ""
    """As for language models: `f32` where config.json says so."""

    def engine_config(self, settings: ModelSettings | None = None) -> EngineConfig:
        """How its engine process is started with these settings, those of `[engine]` by default."""
        settings = settings or EngineSettings()
        return EngineConfig(
            task="embed",
            model_folder=str(self.folder),
            vocabulary_size=self.vocabulary_size,
            context_tokens=self.context_tokens,
            max_running=settings.max_running,
            max_background=settings.max_background,
            max_waiting=settings.max_waiting,
            pooling=self.pooling,
            threads=settings.threads,
            precision=self.precision,
        )


def load_embedding_model(name: str, *, cache_folder: Path | None = None) -> EmbeddingModel:
    """Resolve what a user named, as for language models, and read what is needed to run it.

    Raises: ConfigError naming what is missing, or that it is no embedding model.
    """
    folder = find_model_folder(name, cache_folder or platformdirs.user_cache_path("renga"))
    if not is_embedding_folder(folder):
        raise ConfigError(f"{folder} holds no embedding model", hint="its config.json or modules.json would say so")
    for needed in ("openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml"):
        if not (folder / needed).is_file():
            raise ConfigError(f"{folder} has no {needed}", hint="optimum-cli export openvino makes such a folder")
    config = read_json(folder / "config.json")
    longest = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return EmbeddingModel(
        name=name_model(name),
        folder=folder,
        dimensions=config.get("hidden_size", 0),
        context_tokens=cast("int", longest or config.get("max_position_embeddings", 512)),
        vocabulary_size=config.get("vocab_size", 0),
        pooling=_read_pooling(folder),
        precision=read_precision(config),
    )


def _read_pooling(folder: Path) -> Pooling:
    """How the model's makers pool, which is part of what its vectors mean."""
    config = read_json(folder / "1_Pooling" / "config.json")
    for key, pooling in _POOLING_KEYS.items():
        if config.get(key):
            return pooling
    return "mean"
