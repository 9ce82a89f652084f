"""What `renga serve` does, without the machinery that reads its options."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from renga.config import Config, load_config

if TYPE_CHECKING:
    from renga.start import ServerInfo

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


def start_by_default() -> None:
    """Do what `renga serve` does when it is given no options."""
    start(load_config(None, os.environ))


def start(settings: Config) -> None:
    """Serve with these settings until Ctrl-C ends it."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from renga import start

    start.serve(settings, _announce)


def _announce(info: ServerInfo) -> None:
    """Say that it listens. Plain prints: this is on the way to the first answer."""
    models = f"local model{'s' if len(info.models) > 1 else ''}: {', '.join(info.models) or 'none'}"
    print(f"Renga listens on {info.url} ({models}). Ctrl-C stops it.")
    if info.admin_url is not None:
        print(f"Administrators' port: {info.admin_url}")
    for line in info.advice:
        print(line)
    if info.first_key is not None:
        print()
        print(WELCOME.format(secret=info.first_key.secret, url=info.url), end="")
    else:
        print("Keys were shown when they were made; `renga keys create NAME` makes another.")
    sys.stdout.flush()
