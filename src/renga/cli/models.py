"""`renga models`: lists the models that a server answers to."""

from __future__ import annotations

import contextlib
from typing import Annotated, cast

import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, UrlOption, read_config


def models(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
    every: Annotated[bool, typer.Option("--all", help="Deprecated and retired models too.")] = False,
) -> None:
    """List the models that clients may name, and what answers to them."""
    from renga.cli.shell.server_connection import environ, open_connection, wait_ready
    from renga.cli.shell.table import Column, print_json, print_table
    from renga.errors import ApiError

    settings = read_config(config, data_dir)
    with open_connection(settings, url, environ()) as connection:
        if not url:
            # Where nothing gets ready the table says so, which is what was asked for.
            with contextlib.suppress(ApiError):
                wait_ready(connection, settings)
        path = "/v1/models?limit=1000" + ("" if every else "&lifecycle[]=active")
        page = cast("dict[str, list[dict[str, object]]]", connection.get_json(path))
    if as_json:
        print_json(page["data"])
        return
    columns = [Column("model"), Column("line"), Column("input", True), Column("output", True), Column("answered by")]
    print_table(columns, [_render_model(model) for model in page["data"]])
    standings = [cast("dict[str, object]", model["renga"]) for model in page["data"]]
    for reason in dict.fromkeys(str(standing["detail"]) for standing in standings if not standing["working"]):
        print(f"\nnothing: {reason}")


def _render_model(model: dict[str, object]) -> list[str]:
    standing = cast("dict[str, object]", model["renga"])
    answer = ", ".join(cast("list[str]", standing["targets"])) if standing["working"] else "nothing"
    return [
        str(model["id"]),
        str(model.get("line") or "-"),
        _render_tokens(model.get("max_input_tokens")),
        _render_tokens(model.get("max_tokens")),
        answer,
    ]


def _render_tokens(count: object) -> str:
    return f"{count:,}" if isinstance(count, int) else "-"
