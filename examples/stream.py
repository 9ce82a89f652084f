"""Stream a support answer from given facts, and say what it took.

Needs a server (`scripts/serve`) and its key in RENGA_KEY.
"""

import os

from anthropic import Anthropic

FACTS = """You answer customers of Northwind. Use these facts.
order: 4711
date: 24 November
carrier: DHL"""


def main() -> None:
    client = Anthropic(base_url=os.environ.get("RENGA_URL", "http://127.0.0.1:8080"), api_key=os.environ["RENGA_KEY"])
    with client.messages.stream(
        model="haiku",
        max_tokens=100,
        system=FACTS,
        messages=[{"role": "user", "content": "When will my order arrive?"}],
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
        message = stream.get_final_message()
    print(f"\n{message.usage.input_tokens} tokens in, {message.usage.output_tokens} out, {message.stop_reason}")


if __name__ == "__main__":
    main()
