"""`renga serve`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.options import ConfigOption, DataOption, read_config

if TYPE_CHECKING:
    from renga.app import ServerInfo

WELCOME = """\
Your API key, shown this once only:

    {secret}

Try it:

    curl {url}/v1/messages -H "x-api-key: {secret}" -H "content-type: application/json" \\
      -d '{{"model": "haiku", "max_tokens": 64, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

From Python, with `pip install anthropic`:

    from anthropic import Anthropic
    client = Anthropic(base_url="{url}", api_key="{secret}")
    messages = [{{"role": "user", "content": "Hello!"}}]
    print(client.messages.create(model="claude-haiku-5-5", max_tokens=64, messages=messages).content[0].text)
"""


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
    settings = read_config(config, data_dir, options)
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from renga import app

    app.serve(settings, _announce)


def _announce(info: ServerInfo) -> None:
    """Say that it listens. Plain prints: this is on the way to the first answer."""
    print(f"Renga listens on {info.url} (local model: {info.model or 'none'}). Ctrl-C stops it.")
    if info.first_key is not None:
        print()
        print(WELCOME.format(secret=info.first_key.secret, url=info.url), end="")
    sys.stdout.flush()
