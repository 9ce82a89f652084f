"""A Messages request said in chat.completions, and read back by a slow oracle."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.errors import InvalidRequest
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.signature import Signer, sign
from renga.protocols.openai.chat_request import ERROR_PREFIX, Rendering, render_chat
from renga.protocols.openai.chat_types import encode_chat
from renga.protocols.openai.dialects import DIALECTS, GENERIC, Dialect, detect_dialect

SIGNER = Signer(b"secret", "qwen", "key_1")
BY_NAME = {dialect.name: dialect for dialect in DIALECTS}
USER = {"role": "user", "content": "Hi."}
TOOL = {"name": "get", "description": "Gets.", "input_schema": {"type": "object", "properties": {}}}


def render(body: dict[str, Any], dialect: str | Dialect = "vllm", version: Any = "2023-06-01") -> dict[str, Any]:
    """The JSON that would be sent."""
    row = BY_NAME[dialect] if isinstance(dialect, str) else dialect
    request = decode_request(json.dumps({"model": "m", "max_tokens": 50, "messages": [USER], **body}).encode(), version)
    return json.loads(encode_chat(render_chat(request, Rendering(row, "qwen", SIGNER))))


def messages(body: dict[str, Any], dialect: str = "vllm", version: Any = "2023-06-01") -> list[dict[str, Any]]:
    return render(body, dialect, version)["messages"]


def test_the_least_request():
    assert render({}, GENERIC) == {
        "model": "qwen",
        "messages": [{"role": "user", "content": "Hi."}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
    }


def test_system_as_text_and_as_blocks():
    blocks = [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}]
    assert messages({"system": "S"})[0] == {"role": "system", "content": "S"}
    assert messages({"system": blocks})[0] == {"role": "system", "content": "A\nB"}


def test_a_system_message_in_the_middle():
    turns = [USER, {"role": "assistant", "content": "Yes?"}, {"role": "system", "content": "Be brief."}, USER]
    kept = messages({"messages": turns}, "openai", "2026-10-21")
    assert [message["role"] for message in kept] == ["user", "assistant", "system", "user"]
    moved = messages({"messages": turns}, "vllm", "2026-10-21")
    assert [message["role"] for message in moved] == ["user", "assistant", "user"]
    assert moved[2]["content"] == "<system>\nBe brief.\n</system>\nHi."


def test_a_tool_loop():
    turns = [
        USER,
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"a": 1}},
                {"type": "tool_use", "id": "toolu_2", "name": "get", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "way"}],
                },
                {"type": "text", "text": "Go on."},
            ],
        },
    ]
    assert messages({"messages": turns, "tools": [TOOL]})[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "get", "arguments": '{"a": 1}'}},
                {"id": "toolu_2", "type": "function", "function": {"name": "get", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_2", "content": "two"},
        {"role": "tool", "tool_call_id": "toolu_1", "content": ERROR_PREFIX + "no\nway"},
        {"role": "user", "content": "Go on."},
    ]


def test_images():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
    remote = {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}
    (message,) = messages({"messages": [{"role": "user", "content": [image, {"type": "text", "text": "?"}, remote]}]})
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        {"type": "text", "text": "?"},
        {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
    ]
    with pytest.raises(InvalidRequest) as caught:
        messages({"messages": [{"role": "user", "content": [remote]}]}, "ollama")
    assert caught.value.path == "messages.0.content.0.source.type"


def test_an_image_in_a_result_follows_it():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
    turns = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}]},
    ]
    *_, result, shown = messages({"messages": turns, "tools": [TOOL]})
    assert result["role"] == "tool"
    assert isinstance(result["content"], str)
    assert shown["role"] == "user"
    assert shown["content"][1]["image_url"]["url"].endswith("iVBO")


def test_documents_are_text_or_refused():
    text = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "Words."}}
    assert messages({"messages": [{"role": "user", "content": [text]}]})[0]["content"] == (
        '<document title="T">\nWords.\n</document>'
    )
    parts = {"type": "content", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]}
    content = [{"type": "document", "source": parts}]
    assert "A\nB" in messages({"messages": [{"role": "user", "content": content}]})[0]["content"]
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
    with pytest.raises(InvalidRequest) as caught:
        messages({"messages": [{"role": "user", "content": [pdf]}]})
    assert caught.value.path == "messages.0.content.0.source.type"


def assistant_turns(block: dict[str, Any]) -> list[dict[str, Any]]:
    return [USER, {"role": "assistant", "content": [block, {"type": "text", "text": "So."}]}, USER]


@pytest.mark.parametrize(("dialect", "key"), [("vllm", "reasoning"), ("llama.cpp", "reasoning_content")])
def test_thinking_goes_back_where_it_was_thought(dialect: str, key: str):
    block = {"type": "thinking", "thinking": "Hm.", "signature": sign(b"secret", "qwen", "key_1", "Hm.")}
    assert messages({"messages": assistant_turns(block)}, dialect)[1] == {
        "role": "assistant",
        "content": "So.",
        key: "Hm.",
    }
    assert messages({"messages": assistant_turns(block)}, "openai")[1] == {"role": "assistant", "content": "So."}


def test_thinking_of_others_is_passed_over_and_forged_thinking_refused():
    foreign = {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCgIYAh"}
    redacted = {"type": "redacted_thinking", "data": "abc"}
    for block in (foreign, redacted):
        assert messages({"messages": assistant_turns(block)})[1] == {"role": "assistant", "content": "So."}
    forged = {**foreign, "signature": sign(b"secret", "qwen", "key_1", "Other.")}
    with pytest.raises(InvalidRequest) as caught:
        messages({"messages": assistant_turns(forged)})
    assert caught.value.path == "messages.1.content.0.signature"


def test_tools_and_choices():
    sent = render({"tools": [{**TOOL, "strict": True}], "tool_choice": {"type": "any"}}, "openai")
    assert sent["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get",
                "description": "Gets.",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
        }
    ]
    assert sent["tool_choice"] == "required"
    assert "strict" not in render({"tools": [{**TOOL, "strict": True}]})["tools"][0]["function"]
    assert "tool_choice" not in render({"tools": [TOOL]})
    assert "tools" not in render({"tools": [TOOL], "tool_choice": {"type": "none"}})
    serial = {"type": "auto", "disable_parallel_tool_use": True}
    assert render({"tools": [TOOL], "tool_choice": serial})["parallel_tool_calls"] is False


def test_a_tool_by_name():
    body = {"tools": [TOOL, {**TOOL, "name": "put"}], "tool_choice": {"type": "tool", "name": "put"}}
    assert render(body, "vllm")["tool_choice"] == {"type": "function", "function": {"name": "put"}}
    offered = render(body, "llama.cpp")
    assert offered["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in offered["tools"]] == ["put"]
    with pytest.raises(InvalidRequest) as caught:
        render(body, "ollama")
    assert caught.value.path == "tool_choice.type"


def test_built_in_tools_get_a_schema():
    sent = render({"tools": [{"type": "bash_20250124", "name": "bash"}]})
    function = sent["tools"][0]["function"]
    assert function["name"] == "bash"
    assert "command" in function["parameters"]["properties"]
    with pytest.raises(InvalidRequest) as caught:
        render({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})
    assert caught.value.path == "tools.0"


def test_structured_output():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    sent = render({"output_config": {"format": {"type": "json_schema", "schema": schema}}})
    assert sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize(
    ("body", "dialect", "effort", "thinks"),
    [
        ({}, "vllm", None, False),
        ({}, "ollama", "none", None),
        ({}, "openai", None, None),
        ({"thinking": {"type": "adaptive"}}, "vllm", None, True),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 9000}, "vllm", "low", True),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}, "max_tokens": 9000}, "ollama", "medium", None),
        ({"output_config": {"effort": "max"}}, "openai", "xhigh", None),
        ({"output_config": {"effort": "max"}}, "vllm", "high", False),
        ({"output_config": {"effort": "low"}}, "generic", None, None),
    ],
)
def test_thinking_and_effort(body: dict[str, Any], dialect: str, effort: str | None, thinks: bool | None):
    sent = render(body, dialect)
    assert sent.get("reasoning_effort") == effort
    assert sent.get("chat_template_kwargs") == (None if thinks is None else {"enable_thinking": thinks})


def test_sampling_and_stops():
    body = {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop_sequences": ["a", "b"]}
    sent = render(body, "vllm")
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["stop"]) == (0.5, 0.9, 4, ["a", "b"])
    assert "top_k" not in render(body, "openai")
    with pytest.raises(InvalidRequest) as caught:
        render({"stop_sequences": list("abcde")}, "openai")
    assert caught.value.path == "stop_sequences"


def test_the_limit_of_the_answer():
    assert render({}, "openai")["max_completion_tokens"] == 50
    assert "max_tokens" not in render({}, "openai")
    assert render({"max_tokens": 0})["max_tokens"] == 1


def test_prefill():
    turns = [USER, {"role": "assistant", "content": "I am"}]
    flagged = render({"messages": turns}, "vllm")
    assert (flagged["continue_final_message"], flagged["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in render({"messages": turns}, "llama.cpp")
    with pytest.raises(InvalidRequest) as caught:
        render({"messages": turns}, "openai")
    assert caught.value.path == "messages.1"


@pytest.mark.parametrize(
    ("host", "owner", "name"),
    [
        ("api.openai.com", None, "openai"),
        ("localhost", "vllm", "vllm"),
        ("localhost", "llamacpp", "llama.cpp"),
        ("localhost", "library", "ollama"),
        ("localhost", None, "generic"),
        ("localhost", "acme", "generic"),
    ],
)
def test_telling_servers_apart(host: str, owner: str | None, name: str):
    assert detect_dialect(host, owner).name == name


# The round trip: what is sent, read back by the slow way, is the conversation that came.

WORDS = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() != "")
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
INPUTS = st.dictionaries(WORDS, st.one_of(st.integers(), WORDS, st.lists(WORDS, max_size=2)), max_size=2)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns in the API's shape, alternating, every call answered right after it."""
    turns: list[dict[str, Any]] = []
    calls: list[str] = []
    for index in range(draw(st.integers(1, 4))):
        content: list[dict[str, Any]] = [
            {"type": "tool_result", "tool_use_id": call, "content": draw(WORDS), "is_error": draw(st.booleans())}
            for call in calls
        ]
        if not calls or draw(st.booleans()):
            content.append({"type": "text", "text": draw(WORDS)})
        turns.append({"role": "user", "content": content})
        calls = [f"toolu_{index}_{number}" for number in range(draw(st.integers(0, 2)))]
        uses = [{"type": "tool_use", "id": call, "name": draw(NAMES), "input": draw(INPUTS)} for call in calls]
        texts = [] if uses and draw(st.booleans()) else [{"type": "text", "text": draw(WORDS)}]
        turns.append({"role": "assistant", "content": [*texts, *uses]})
    turns.append(
        {"role": "user", "content": [*({"type": "tool_result", "tool_use_id": call} for call in calls), *_end(draw)]}
    )
    return turns


def _end(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [{"type": "text", "text": draw(WORDS)}]


def read_back(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """chat.completions messages as turns: the oracle, written without a look at the code."""
    turns: list[dict[str, Any]] = []
    for message in sent:
        if message["role"] == "tool":
            failed = message["content"].startswith(ERROR_PREFIX)
            block = {
                "type": "tool_result",
                "tool_use_id": message["tool_call_id"],
                "content": message["content"].removeprefix(ERROR_PREFIX),
                "is_error": failed,
            }
            blocks, role = [block], "user"
        else:
            role = message["role"]
            blocks = [{"type": "text", "text": message["content"]}] if message["content"] else []
            for call in message.get("tool_calls", ()):
                function = call["function"]
                arguments = json.loads(function["arguments"])
                blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments})
        if turns and turns[-1]["role"] == role == "user":
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def normalize(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for turn in turns:
        for block in turn["content"]:
            if block["type"] == "tool_result":
                block.setdefault("content", "")
                block.setdefault("is_error", False)
    return turns


@given(conversations(), st.sampled_from(sorted(BY_NAME)))
def test_a_conversation_comes_back_as_it_went(turns: list[dict[str, Any]], dialect: str):
    assert read_back(messages({"messages": turns, "tools": [TOOL]}, dialect)) == normalize(turns)


def test_the_request_is_what_msgspec_says_it_is():
    """Raw schemas and defaults survive encoding: a request encodes to valid JSON with no nulls but an empty content."""
    text = msgspec.json.encode(render({"tools": [TOOL], "system": "S"}))
    assert b"null" not in text
