"""Structured output: an object that always fits its schema, whatever the model would rather write.

Needs a server (`scripts/serve`) and its key in RENGA_KEY.
"""

import json
import os

from anthropic import Anthropic

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"artist": {"type": "string"}, "playlist": {"type": "string"}},
    "required": ["artist", "playlist"],
    "additionalProperties": False,
}


def main() -> None:
    client = Anthropic(base_url=os.environ.get("RENGA_URL", "http://127.0.0.1:8080"), api_key=os.environ["RENGA_KEY"])
    for text in ("Add Clem Burke to my playlist Party Jams", "put some Miles Davis on Quiet Evenings"):
        answer = client.messages.create(
            model="haiku",
            max_tokens=100,
            system="Fill in the object from the message: artist, playlist.",
            messages=[{"role": "user", "content": text}],
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
        )
        print(json.loads("".join(block.text for block in answer.content if block.type == "text")))


if __name__ == "__main__":
    main()
