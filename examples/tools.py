"""Tools: the model asks for one, this program runs it, and a second request answers from what came back.

Needs a server (`scripts/serve`) and its key in RENGA_KEY. `tool_choice` holds the call to the tool's schema by a
grammar. The result goes into the system prompt as facts, which is what hokku was trained to answer from; after a
`tool_result` it writes nonsense. A larger model behind `haiku` takes one; the SDK's `tool_runner` does that loop.
"""

import os

from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam

ORDERS = {"4711": "order: 4711\ndate: 24 November\ncarrier: DHL"}
TOOL: ToolParam = {
    "name": "order_status",
    "description": "Where an order is.",
    "input_schema": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
}


def main() -> None:
    client = Anthropic(base_url=os.environ.get("RENGA_URL", "http://127.0.0.1:8080"), api_key=os.environ["RENGA_KEY"])
    question: MessageParam = {"role": "user", "content": "Where is my order 4711?"}
    called = client.messages.create(
        model="haiku", max_tokens=200, tools=[TOOL], tool_choice={"type": "any"}, messages=[question]
    )
    found: list[str] = []
    for block in called.content:
        if block.type == "tool_use":
            found.append(ORDERS.get(str(block.input["order"]), "There is no such order."))
            print(f"{block.name}({block.input}) -> {found[-1]!r}")
    facts = "You answer customers of Northwind. Use these facts.\n" + "\n".join(found)
    answer = client.messages.create(model="haiku", max_tokens=200, system=facts, messages=[question])
    print("".join(block.text for block in answer.content if block.type == "text"))


if __name__ == "__main__":
    main()
