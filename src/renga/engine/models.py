"""What `--model` names, made into something that can be served.

Owns: finding, fetching, converting and caching models; the shape of the cache folder.
Must never know: requests, HTTP routes, how a model is run.
Invariants: nothing is fetched unless a user named a hub id; a cache entry is complete or absent.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from renga.engine.chat import ChatTemplate
from renga.engine.families import Family
from renga.engine.protocol import Launch
from renga.engine.vocabulary import Vocabulary


class Model(msgspec.Struct, frozen=True):
    """A model on disk with everything needed to speak to it."""

    name: str
    """As clients see it: `hokku`, or the stem of the file or the last part of the hub id."""
    folder: Path
    """Holds openvino_model.xml and .bin."""
    vocabulary_folder: Path
    vocabulary: Vocabulary
    template: ChatTemplate
    family: Family
    context_tokens: int
    stop_token_ids: tuple[int, ...]

    def launch(self) -> Launch:
        """How its engine process is started, with every setting at its default; `msgspec.structs.replace` the rest."""
        raise NotImplementedError


def load_model(name: str, *, cache_folder: Path | None = None) -> Model:
    """Resolve what a user named: `hokku`, a zip package, an OpenVINO folder, a .gguf file or a hub id.

    Blocking; a hub id or a first GGUF takes long and reports its progress on stderr.
    Raises: ConfigError that says what to do.
    """
    raise NotImplementedError
