"""`renga models`."""

from __future__ import annotations

import contextlib
from typing import Annotated, cast

import typer

from renga.cli.options import ConfigOption, DataOption, JsonOption, UrlOption, read_config

_ENGINE_WAIT_S = 20.0


def models(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
    every: Annotated[bool, typer.Option("--all", help="Deprecated and retired models too.")] = False,
) -> None:
    """List the models that clients may name, and what answers to them."""
    from renga.cli.connection import environ, open_connection, wait_ready
    from renga.cli.table import Column, print_json, print_table
    from renga.errors import ApiError

    with open_connection(read_config(config, data_dir), url, environ()) as connection:
        if not url:
            # Where nothing gets ready the table says so, which is what was asked for.
            with contextlib.suppress(ApiError):
                wait_ready(connection, _ENGINE_WAIT_S)
        path = "/v1/models?limit=1000" + ("" if every else "&lifecycle[]=active")
        page = cast("dict[str, list[dict[str, object]]]", connection.get_json(path))
    if as_json:
        print_json(page["data"])
        return
    columns = [Column("model"), Column("line"), Column("input", True), Column("output", True), Column("answered by")]
    print_table(columns, [_render_model(model) for model in page["data"]])


def _render_model(model: dict[str, object]) -> list[str]:
    standing = cast("dict[str, object]", model.get("renga") or {})
    targets = ", ".join(cast("list[str]", standing.get("targets", [])))
    detail = str(standing.get("detail") or "")
    answer = targets if standing.get("working", True) else f"nothing: {detail}" if detail else "nothing"
    return [
        str(model["id"]),
        str(model.get("line") or "-"),
        _render_tokens(model.get("max_input_tokens")),
        _render_tokens(model.get("max_tokens")),
        answer,
    ]


def _render_tokens(count: object) -> str:
    return f"{count:,}" if isinstance(count, int) else "-"
