"""What errors look like to a client: each has the API's type, a sentence that says what to do, and a request id.

Needs a server (`scripts/serve`) and its key in RENGA_KEY.
"""

import os
from typing import Any

from anthropic import Anthropic, APIStatusError
from anthropic.types import MessageParam


def main() -> None:
    url = os.environ.get("RENGA_URL", "http://127.0.0.1:8080")
    client = Anthropic(base_url=url, api_key=os.environ["RENGA_KEY"], max_retries=0)
    stranger = Anthropic(base_url=url, api_key="sk-renga-nobody", max_retries=0)
    asked: list[MessageParam] = [{"role": "user", "content": "Hello!"}]
    for name, ask in (
        ("a key that is none", lambda: stranger.messages.create(model="haiku", max_tokens=10, messages=asked)),
        ("a model that is none", lambda: client.messages.create(model="no-such-model", max_tokens=10, messages=asked)),
        ("a value out of range", lambda: client.messages.create(model="haiku", max_tokens=-1, messages=asked)),
    ):
        try:
            ask()
        except APIStatusError as error:
            said: Any = error.body
            kind, sentence = said["error"]["type"], said["error"]["message"]
            print(f"{name}: {error.status_code} {kind}: {sentence} [{error.request_id}]")


if __name__ == "__main__":
    main()
