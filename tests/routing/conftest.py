"""Requests and answers for the tests of the router, in one line each."""

import msgspec

from renga.protocols.messages.blocks import TextBlock, ToolUseBlock
from renga.protocols.messages.events.event_types import Message
from renga.protocols.messages.request import JsonSchemaFormat, MessageRequest, OutputConfig, Tool, Turn

WEATHER = Tool(
    name="get_weather",
    input_schema=msgspec.Raw(
        b'{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],'
        b' "additionalProperties": false}'
    ),
)


def ask(text: str, **fields: object) -> MessageRequest:
    return MessageRequest(model="auto", messages=(Turn("user", text),), max_tokens=256, **fields)  # type: ignore[arg-type]


def ask_for_json(text: str, schema: bytes) -> MessageRequest:
    return ask(text, output_config=OutputConfig(format=JsonSchemaFormat(msgspec.Raw(schema))))


def say(text: str, stop_reason: str = "end_turn") -> Message:
    return Message(model="hokku", id="msg_1", content=(TextBlock(text),), stop_reason=stop_reason)


def call(name: str, arguments: bytes) -> Message:
    block = ToolUseBlock(id="toolu_1", name=name, input=msgspec.Raw(arguments))
    return Message(model="hokku", id="msg_1", content=(block,), stop_reason="tool_use")
