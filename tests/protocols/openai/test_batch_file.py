"""OpenAI-style batch lines as Messages requests, and answers back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from renga.errors import InvalidRequest
from renga.protocols.messages.decode import decode_request
from renga.protocols.openai.batch_file import read_chat_body, render_chat_line

USER = {"role": "user", "content": "Hi"}


def read(**fields: Any) -> dict[str, Any]:
    """The Messages request of a chat body, which our own decoder must take."""
    body = msgspec.json.encode(read_chat_body(json.dumps({"model": "haiku", "messages": [USER], **fields}).encode()))
    decode_request(body, "2023-06-01")
    return json.loads(body)


def test_a_conversation_with_everything() -> None:
    call = {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    request = read(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}]},
            {"role": "assistant", "content": "Calling", "tool_calls": [call, {**call, "id": "toolu_2"}]},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "one"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": [{"type": "text", "text": "two"}]},
        ],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=1.7,
        stop="END",
        max_completion_tokens=77,
        seed=5,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    )
    assert request["system"] == "Be brief."
    assert [turn["role"] for turn in request["messages"]] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in request["messages"][2]["content"]] == ["toolu_1", "toolu_2"]
    assert request["messages"][1]["content"][1]["input"] == {"a": 1}
    assert request["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert (request["temperature"], request["max_tokens"], request["stop_sequences"]) == (1.0, 77, ["END"])
    assert request["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"n": 2}, "n: "),
        ({"logprobs": True}, "logprobs: "),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages.0.content.0: "),
        ({"messages": [{"role": "nobody"}]}, "messages[0].role: "),
        ({"response_format": {"type": "json_object"}}, "response_format.type: "),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_path(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    assert caught.value.sentence().startswith(complaint)


def test_answers_are_completions() -> None:
    message = {
        "id": "msg_1",
        "model": "m",
        "content": [
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5},
    }
    line = render_chat_line("a", {"type": "succeeded", "message": message}, "req_1", created_s=1_700_000_000)
    body = line["response"]["body"]
    assert line["error"] is None
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert body["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert body["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def test_errors_have_their_status() -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}
    line = render_chat_line("a", {"type": "errored", "error": error}, "req_1", created_s=1_700_000_000)
    assert line["response"]["status_code"] == 429
    assert (
        render_chat_line("a", {"type": "expired"}, "req_1", created_s=1_700_000_000)["error"]["code"] == "batch_expired"
    )
