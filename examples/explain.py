"""Why this target: what a request would cost in tokens, who answered it, and the plan that the router followed.

Needs a server (`scripts/serve`) and its key in RENGA_KEY. `renga route explain` says the same without asking anybody.
"""

import os

from anthropic import Anthropic
from anthropic.types import MessageParam


def main() -> None:
    client = Anthropic(base_url=os.environ.get("RENGA_URL", "http://127.0.0.1:8080"), api_key=os.environ["RENGA_KEY"])
    messages: list[MessageParam] = [{"role": "user", "content": "Hello!"}]
    counted = client.messages.count_tokens(model="auto", messages=messages)
    print(f"counted    {counted.input_tokens} tokens")
    raw = client.messages.with_raw_response.create(model="auto", max_tokens=50, messages=messages)
    answer = raw.parse()
    print(f"used       {answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out")
    for header in ("renga-target", "renga-plan", "renga-cost-usd", "renga-overhead-us", "request-id"):
        print(f"{header:18} {raw.headers.get(header, '-')}")


if __name__ == "__main__":
    main()
