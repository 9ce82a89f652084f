"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from renga.config import Config, load_config

ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file instead of ./renga.toml.")
]
DataOption: TypeAlias = Annotated[
    Path | None, typer.Option("--data-dir", metavar="FOLDER", help="Folder for the database.")
]
UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", envvar="RENGA_URL", help="Ask this server; the key is RENGA_KEY."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_config(file: Path | None, data_dir: Path | None, options: Mapping[str, str | None] | None = None) -> Config:
    """The settings, with what the command line says on top. `options` have the variables' names; None is not given."""
    overrides = dict(options or {})
    if data_dir is not None:
        overrides["RENGA_STORE_DATA_DIR"] = str(data_dir)
    return load_config(file, {**os.environ, **{name: value for name, value in overrides.items() if value is not None}})
