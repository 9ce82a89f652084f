"""The command `renga serve` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from renga.cli.launch import start
from renga.cli.shell.options import ConfigOption, DataOption, read_config


def serve(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 takes a free one.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Local model: hokku, a GGUF file, an OpenVINO folder, a hub id.")
    ] = None,
    engine: Annotated[bool | None, typer.Option(help="Whether to run a local model at all.")] = None,
) -> None:
    """Serve the Messages API until Ctrl-C. The first start makes a key and shows how to use it."""
    options = {
        "RENGA_SERVER_HOST": host,
        "RENGA_SERVER_PORT": None if port is None else str(port),
        "RENGA_ENGINE_MODEL": model,
        "RENGA_ENGINE_ENABLED": None if engine is None else str(engine).lower(),
    }
    start(read_config(config, data_dir, options))
