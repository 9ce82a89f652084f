"""`renga get`: asks a server for any of its GET routes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, UrlOption, read_config


def get(
    path: Annotated[str, typer.Argument(metavar="PATH", help="As /v1/models.")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    url: UrlOption = None,
) -> None:
    """Send one GET request and print the answer. No server is needed: one is started for it on a free port."""
    import msgspec

    from renga.cli.shell.server_connection import environ, open_connection, read_error, wait_ready

    if not path.startswith("/"):
        raise typer.BadParameter(f"{path!r} is not a path, as in: renga get /{path}", param_hint="path")
    settings = read_config(config, data_dir)
    with open_connection(settings, url, environ()) as connection:
        if not url:
            wait_ready(connection, settings)  # else /ready and /v1/models would tell of a model that is being loaded
        with connection.request("GET", path) as response:
            data = response.read()
    if response.status >= 400:
        raise read_error(response.status, data)
    if "json" in (response.getheader("content-type") or ""):
        data = msgspec.json.format(data, indent=2) + b"\n"
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
