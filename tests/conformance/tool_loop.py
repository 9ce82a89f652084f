"""A streamed tool loop with whichever `anthropic` SDK runs this file: python tool_loop.py BASE_URL.

Turn one must call the tool, turn two must answer in text. The choice is forced and the arguments are enumerated, so
that a model without any sense completes it too. The key is read from ANTHROPIC_API_KEY, as the SDKs do. Prints one line
of JSON; any fault is an exception.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

import anthropic

MODEL = "claude-haiku-4-5"
TOOL = {
    "name": "get_weather",
    "description": "Current weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Kyoto", "Oslo"]}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}


def check(condition: bool, complaint: object) -> None:
    if not condition:
        raise SystemExit(f"anthropic {anthropic.__version__}: {complaint}")


def call_tool(client: Any, messages: list[Any]) -> Any:
    """The first turn: its deltas, joined, are the input of the block that the SDK folded."""
    partial: list[str] = []
    choice = {"type": "tool", "name": TOOL["name"], "disable_parallel_tool_use": True}
    with client.messages.stream(
        model=MODEL, max_tokens=256, messages=messages, tools=[TOOL], tool_choice=choice
    ) as stream:
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                partial.append(event.delta.partial_json)
        message = stream.get_final_message()
    check(message.stop_reason == "tool_use", f"stop_reason {message.stop_reason} for a forced tool")
    calls = [block for block in message.content if block.type == "tool_use"]
    check(len(calls) == 1, f"{len(calls)} calls for a forced tool")
    check(json.loads("".join(partial)) == calls[0].input, "the deltas do not join to the input")
    check(calls[0].input["city"] in ("Kyoto", "Oslo"), f"input {calls[0].input}")
    check(calls[0].input["unit"] in ("celsius", "fahrenheit"), f"input {calls[0].input}")
    check(message.usage.input_tokens > 0 and message.usage.output_tokens > 0, f"usage {message.usage}")
    return message


def answer_in_text(client: Any, messages: list[Any]) -> Any:
    """The last turn."""
    with client.messages.stream(
        model=MODEL, max_tokens=48, messages=messages, tools=[TOOL], tool_choice={"type": "none"}
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    check(message.stop_reason in ("end_turn", "max_tokens"), f"stop_reason {message.stop_reason}")
    check(text == "".join(block.text for block in message.content if block.type == "text"), "text differs")
    check(not any(block.type == "tool_use" for block in message.content), "a call although tools were off")
    return message


def run_tools(client: Any) -> int:
    """The SDK's own loop, where it has one. Newer ones ask for a thread first and must be refused with its code."""
    runner = getattr(client.beta.messages, "tool_runner", None)
    if runner is None or not hasattr(anthropic, "beta_tool"):
        return 0
    asked: list[str] = []

    @anthropic.beta_tool
    def get_weather(city: Literal["Kyoto", "Oslo"]) -> str:
        """Current weather of a city.

        Args:
            city: its name
        """
        asked.append(city)
        return "11 degrees and rain"

    running = runner(
        model=MODEL,
        max_tokens=256,
        messages=[{"role": "user", "content": "Is it raining in Kyoto?"}],
        tools=[get_weather],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        max_iterations=2,
        stream=True,
    )
    for stream in running:
        for _ in stream:
            pass
    check(len(asked) >= 1, "the tool runner ran no tool")
    return len(asked)


def main() -> None:
    client = anthropic.Anthropic(base_url=sys.argv[1], max_retries=0, timeout=60)
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Kyoto? Use the tool."}]
    called = call_tool(client, messages)
    call = next(block for block in called.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "11 degrees and rain"}
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    answered = answer_in_text(client, messages)
    print(
        json.dumps(
            {
                "sdk": anthropic.__version__,
                "input": call.input,
                "final_stop_reason": answered.stop_reason,
                "tools_run_by_the_sdk": run_tools(client),
            }
        )
    )


if __name__ == "__main__":
    main()
