"""`renga ask`: sends one prompt and prints the answer as it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from renga.cli.shell.options import ConfigOption, DataOption, UrlOption, read_config

if TYPE_CHECKING:
    from http.client import HTTPResponse


def ask(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="The question; without it, or with -, it is read from stdin."),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    url: UrlOption = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A tier (haiku, sonnet, opus), auto, or a model's name.")
    ] = "haiku",
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System prompt.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Most tokens to answer with.")] = 1024,
) -> None:
    """Ask one question; the answer streams to the terminal. Starts the engine itself unless --url names a server."""
    from renga.cli.shell.server_connection import environ, open_connection, read_error, wait_ready

    text = sys.stdin.read() if prompt in (None, "-") else prompt
    if not text or not text.strip():
        raise typer.BadParameter('nothing to ask, as in: renga ask "Why is the sky blue?"', param_hint="prompt")
    settings = read_config(config, data_dir)
    body: dict[str, object] = {
        "model": model,
        "max_tokens": max_tokens,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
    }
    if system:
        body["system"] = system
    with open_connection(settings, url, environ()) as connection:
        if not url:
            wait_ready(connection, settings)
        with connection.request("POST", "/v1/messages", msgspec.json.encode(body)) as response:
            if response.status != 200:
                raise read_error(response.status, response.read())
            _print_stream(response)


def _print_stream(response: HTTPResponse) -> None:
    """Print text as it comes.

    Raises: ApiError if the stream ends in an error, or does not end.
    """
    from http.client import HTTPException

    from renga.errors import ApiError

    ended_with_newline = True
    try:
        for line in response:
            if not line.startswith(b"data:"):
                continue
            event = msgspec.json.decode(line[5:])
            kind = event.get("type")
            if kind == "content_block_delta" and event["delta"]["type"] == "text_delta":
                text: str = event["delta"]["text"]
                ended_with_newline = text.endswith("\n")
                sys.stdout.write(text)
                sys.stdout.flush()
            elif kind == "error":
                raise ApiError(str(event["error"]["message"]))
            elif kind == "message_stop":
                return
        raise ApiError("the answer broke off before its end")
    except (HTTPException, OSError) as error:
        raise ApiError(f"the connection was lost: {error}") from error
    finally:
        if not ended_with_newline:
            print()
