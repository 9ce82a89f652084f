"""Requests: bytes in, a typed value out, or a 400 that names the path."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.errors import InvalidRequest
from renga.protocols.messages.blocks import RedactedThinkingBlock, ServerToolUseBlock, TextBlock
from renga.protocols.messages.decode import decode_count, decode_request

OLD, NEW = "2023-06-01", "2026-10-21"
HELLO = {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def decode(version=NEW, **fields):
    return decode_request(msgspec.json.encode({**HELLO, **fields}), version)


def refused(version=NEW, **fields):
    with pytest.raises(InvalidRequest) as caught:
        decode(version, **fields)
    assert caught.value.message.endswith(".")
    return caught.value


def test_the_least_request():
    request = decode()
    assert (request.model, request.max_tokens, request.stream, request.tools, request.required_features) == (
        "haiku",
        50,
        False,
        (),
        (),
    )
    assert request.messages[0].content == "Hi"


def test_everything_at_once():
    request = decode(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        stream=True,
        stop_sequences=["###"],
        tools=[{**TOOL, "strict": True, "description": "d", "input_examples": [{}], "eager_input_streaming": True}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        thinking={"type": "adaptive", "display": "summarized"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"foo": "bar"}}},
        metadata={"user_id": "u"},
        service_tier="auto",
        inference_geo="eu",
        speed="fast",
        diagnostics={"previous_message_id": "msg_1"},
        billing_policy={},
        cache_control={"type": "ephemeral"},
    )
    assert request.system[0].cache_control.ttl == "1h"
    assert bytes(request.output_config.format.schema) == b'{"foo":"bar"}'
    assert request.required_features == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no body"),
        (b"  ", "no body"),
        (b"{", "ends too early"),
        (b'{"model": "a" "b"}', "not valid JSON.*byte 14"),
        (b'{"model":"\xff"}', "not UTF-8"),
        (b'{"thread":' + b"[" * 100_000, "nested too deeply"),
        (b"[]", "Must be an object, not an array"),
        (b"null", "Must be an object, not null"),
        (b'{"model":"\\ud800"}', "not valid JSON: half of a surrogate pair stands alone"),
        (b'{"model":"\\ud800 and more words"}', "not valid JSON: .*surrogate pair"),
    ],
)
def test_bodies_that_are_no_request(body, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_request(body, NEW)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"model": None}, "model", "Field required"),
        ({"model": ""}, "model", "must not be empty"),
        ({"model": 5}, "model", "a string, not an integer"),
        ({"max_tokens": "5"}, "max_tokens", "an integer, not a string"),
        ({"max_tokens": -1}, "max_tokens", "at least 0"),
        ({"messages": []}, "messages", "At least one"),
        ({"messages": "Hi"}, "messages", "an array, not a string"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "Field required"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "messages.0.role", "user, assistant or system, not 'usr'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "a string or an array"),
        ({"system": 5}, "system", "a string or an array, not an integer"),
        ({"system": [{"type": "text", "text": ""}]}, "system.0.text", "not be empty"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type", "auto, any, tool or none"),
        ({"thinking": {"type": "on"}}, "thinking.type", "enabled, disabled"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "low, medium"),
        ({"output_config": {"format": {"type": "json_schema", "schema": []}}}, "output_config.format.schema", "object"),
        ({"stop_sequences": ["a", ""]}, "stop_sequences.1", "not be empty"),
        ({"foo": 1}, "foo", "Extra inputs are not permitted"),
        ({"required_features": ["thread"]}, "required_features", "Extra inputs are not permitted"),
    ],
)
def test_errors_name_their_path(fields, path, message):
    fields = {**HELLO, **fields}
    if fields["model"] is None:
        del fields["model"]
    with pytest.raises(InvalidRequest, match=message) as caught:
        decode_request(msgspec.json.encode(fields), NEW)
    assert caught.value.path == path


def test_errors_name_paths_inside_blocks():
    error = refused(
        messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": 5}]}]
    )
    assert (error.path, error.message) == ("messages.0.content.1.text", "Must be a string, not an integer.")
    error = refused(messages=[{"role": "user", "content": [{"type": "video"}]}])
    assert error.path == "messages.0.content.0.type"
    assert "'video' is not a type of block" in error.message


def test_an_error_never_quotes_much():
    long = "secret " * 1000
    for fields in ({"tool_choice": {"type": long}}, {long: 1}):
        assert len(refused(**fields).sentence()) < 400


def test_null_means_absent_at_the_top():
    request = decode(stop_sequences=None, tools=None, stream=None, system=None, thread=None, temperature=None)
    assert (request.stop_sequences, request.tools, request.stream, request.required_features) == ((), (), False, ())
    assert refused(messages=None).path == "messages"


def test_the_format_field_of_2025():
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    assert decode(output_format=schema).output_config.format is not None
    assert decode(output_format=schema, output_config={"effort": "low"}).output_config.effort == "low"
    assert refused(output_format=schema, output_config={"format": schema}).path == "output_format"


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_sampling_parameters_ended_with_the_new_version(name):
    assert getattr(decode(OLD, **{name: 1}), name) == 1
    assert refused(NEW, **{name: 1}).path == name


@pytest.mark.parametrize(("name", "value"), [("temperature", 1.01), ("temperature", -0.1), ("top_p", 2), ("top_k", -1)])
def test_ranges_of_sampling_parameters(name, value):
    assert refused(OLD, **{name: value}).path == name


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
    ],
)
def test_max_tokens_0_warms_the_cache_and_no_more(fields):
    assert decode(max_tokens=0).max_tokens == 0
    assert refused(max_tokens=0, **fields).path == "max_tokens"


def test_thinking_budgets():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert decode(max_tokens=1025, thinking=thinking).thinking.budget_tokens == 1024
    assert refused(max_tokens=1024, thinking=thinking).path == "thinking.budget_tokens"
    assert refused(max_tokens=5000, thinking={**thinking, "budget_tokens": 1023}).path == "thinking.budget_tokens"
    assert refused(max_tokens=5000, thinking={"type": "enabled"}).path == "thinking.budget_tokens"
    for choice in ({"type": "any"}, {"type": "tool", "name": "f"}):
        error = refused(max_tokens=5000, thinking=thinking, tools=[TOOL], tool_choice=choice)
        assert error.path == "tool_choice.type"


@pytest.mark.parametrize(
    ("tools", "path"),
    [
        ([{"name": "f"}], "tools.0.input_schema"),
        ([{"input_schema": {"type": "object"}}], "tools.0.name"),
        ([{**TOOL, "name": "a b"}], "tools.0.name"),
        ([{**TOOL, "name": ""}], "tools.0.name"),
        ([{**TOOL, "name": "x" * 129}], "tools.0.name"),
        ([{**TOOL, "name": "x\n"}], "tools.0.name"),
        ([TOOL, TOOL], "tools.1.name"),
        ([{**TOOL, "input_schema": []}], "tools.0.input_schema"),
        ([{**TOOL, "input_schema": None}], "tools.0.input_schema"),
        ([{**TOOL, "input_schema": {"type": "string"}}], "tools.0.input_schema.type"),
        ([{**TOOL, "input_schema": {}}], "tools.0.input_schema.type"),
        ([{**TOOL, "type": "custom", "name": 5}], "tools.0.name"),
    ],
)
def test_tools(tools, path):
    assert refused(tools=tools).path == path


def test_built_in_tools_have_no_schema():
    request = decode(tools=[{"type": "bash_20250124", "name": "bash"}, {"type": "mcp_toolset", "mcp_server_name": "s"}])
    assert request.tools[0].input_schema is msgspec.UNSET
    decode(
        tools=[
            {**TOOL, "type": "custom", "name": "x" * 128, "input_schema": {"type": "object", "properties": {"l": "b"}}}
        ]
    )


def test_tool_choices():
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "g"}).path == "tool_choice.name"
    assert refused(tool_choice={"type": "any"}).path == "tool_choice"
    decode(tools=[TOOL], tool_choice={"type": "tool", "name": "f"})
    decode(tool_choice={"type": "none"})


def test_four_cache_breakpoints_at_most():
    cached = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    tool = {**TOOL, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    user = {"role": "user", "content": [cached, cached]}
    decode(system=[cached], tools=[tool], messages=[user])
    assert refused(system=[cached, cached], tools=[tool], messages=[user]).path == "messages.0.content.1.cache_control"
    automatic = {"type": "ephemeral"}
    assert refused(system=[cached], tools=[tool], messages=[user], cache_control=automatic).path == "cache_control"
    assert refused(cache_control={"type": "ephemeral", "ttl": "2h"}).path == "cache_control.ttl"


def test_blocks_that_another_model_wrote_are_kept():
    history = [
        *HELLO["messages"],
        {
            "role": "assistant",
            "content": [
                {"type": "redacted_thinking", "data": "x"},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                {"type": "mcp_tool_use", "id": "m", "name": "n", "server_name": "s", "input": {}},
                {"type": "mcp_tool_result", "tool_use_id": "m", "content": [], "is_error": False},
                {"type": "text", "text": "Hi", "citations": [{"type": "char_location"}], "new_field": 1},
            ],
        },
        {"role": "user", "content": "And?"},
    ]
    content = decode(messages=history).messages[1].content
    assert [type(block) for block in content[:2]] == [RedactedThinkingBlock, ServerToolUseBlock]
    assert bytes(content[-1].citations) == b'[{"type":"char_location"}]'
    assert isinstance(content[-1], TextBlock)


def test_count_needs_no_max_tokens():
    body = {"model": "haiku", "messages": HELLO["messages"], "thinking": {"type": "enabled", "budget_tokens": 2000}}
    assert decode_count(msgspec.json.encode(body), NEW).messages[0].content == "Hi"
    assert decode_count(msgspec.json.encode({**body, "max_tokens": 5}), NEW).max_tokens == 5
    with pytest.raises(InvalidRequest, match="Extra inputs"):
        decode_count(msgspec.json.encode({**body, "foo": 5}), NEW)
    with pytest.raises(InvalidRequest, match="Field required"):
        decode_request(msgspec.json.encode(body), NEW)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = """
    model messages max_tokens system stream tools tool_choice thinking output_config thread context_management
    cache_control metadata temperature stop_sequences output_format new
"""
FIELD = st.sampled_from(FIELDS.split())
BLOCKS = "text image document thinking tool_use tool_result search_result compaction"


@given(st.dictionaries(FIELD, ANYTHING, max_size=4), st.sampled_from([OLD, NEW]))
def test_whatever_is_sent_the_answer_is_a_request_or_a_400(fields, version):
    body = msgspec.json.encode({**HELLO, **fields})
    for read in (decode_request, decode_count):
        try:
            read(body, version)
        except InvalidRequest as error:
            assert error.message


@pytest.mark.parametrize("value", [b'"\xff"', b'"\\ud800"', b'"\\uD800 x"'])
def test_strings_that_are_none_are_refused_where_they_stay_raw_too(value):
    body = msgspec.json.encode({**HELLO, "tools": [{**TOOL, "input_schema": {"type": "object", "x": "PLACE"}}]})
    decode_request(body.replace(b'"PLACE"', b'"\\ud83d\\ude00 \xc3\xa9"'), NEW)
    with pytest.raises(InvalidRequest, match=r"not UTF-8|[Nn]ot valid JSON"):
        decode_request(body.replace(b'"PLACE"', value), NEW)


BLOCK = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text", "image", "document", "thinking", "tool_use", "tool_result", "search_result", "compaction"]
        )
    },
    optional={
        "text": ANYTHING,
        "id": ANYTHING,
        "name": ANYTHING,
        "input": ANYTHING,
        "tool_use_id": ANYTHING,
        "content": ANYTHING,
        "source": ANYTHING,
        "citations": ANYTHING,
        "cache_control": ANYTHING,
    },
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": ANYTHING | st.lists(BLOCK, max_size=3)}
)


@given(st.lists(TURN, max_size=4))
def test_whatever_conversation_is_sent(messages):
    try:
        decode(messages=messages)
    except InvalidRequest as error:
        assert error.path.startswith("messages")


@given(st.binary(max_size=40))
def test_whatever_bytes_are_sent_the_answer_is_a_400(body):
    with pytest.raises(InvalidRequest):
        decode_request(body, NEW)
