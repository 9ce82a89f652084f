"""What each part of a request becomes in the engine's words."""

import msgspec
import pytest

from renga.errors import InvalidRequest
from renga.models.engine.text.families import FAMILIES
from renga.models.providers.local.prompt_rendering import Conversation, build_conversation
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.request import ApiVersion
from renga.protocols.messages.signature import Signer, sign

SIGNER = Signer(b"secret", "hokku", "key_1")
WEATHER = {"name": "get_weather", "description": "Weather.", "input_schema": {"type": "object"}}


def converse(version: ApiVersion = "2023-06-01", **fields: object) -> Conversation:
    body = msgspec.json.encode(
        {"model": "haiku", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    )
    return build_conversation(decode_request(body, version), FAMILIES["hokku"], SIGNER)


def roles(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.chat.messages]


def test_system_blocks_and_same_role_turns_are_joined() -> None:
    conversation = converse(
        system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        messages=[{"role": "user", "content": "One"}, {"role": "user", "content": [{"type": "text", "text": "Two"}]}],
    )
    assert roles(conversation) == [("system", "Be brief.\nBe kind."), ("user", "One\nTwo")]


def test_system_messages_keep_their_place() -> None:
    conversation = converse(
        "2026-10-21",
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Go on"},
            {"role": "system", "content": "Answer in French."},
        ],
    )
    assert roles(conversation)[-1] == ("system", "Answer in French.")


def test_results_of_tools_are_turns_of_their_own_and_errors_say_so() -> None:
    uses = [{"type": "tool_use", "id": f"toolu_{i}", "name": "get_weather", "input": {"n": i}} for i in (1, 2)]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
        {
            "type": "tool_result",
            "tool_use_id": "toolu_2",
            "content": [{"type": "text", "text": "down"}],
            "is_error": True,
        },
        {"type": "text", "text": "And?"},
    ]
    conversation = converse(
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": uses},
            {"role": "user", "content": results},
        ],
    )
    assert roles(conversation)[2:] == [("tool", "sunny"), ("tool", "Error: down"), ("user", "And?")]
    assert [call.arguments for call in conversation.chat.messages[1].tool_calls] == [{"n": 1}, {"n": 2}]


def test_documents_become_text_with_their_title() -> None:
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "Opening hours: 9 to 5."},
        "title": "Hours",
    }
    content = roles(converse(messages=[{"role": "user", "content": [document]}]))[0][1]
    assert content == '<document title="Hours">\nOpening hours: 9 to 5.\n</document>'


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
    ],
)
def test_what_it_cannot_read_is_refused_by_path(block: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        converse(messages=[{"role": "user", "content": [{"type": "text", "text": "Look"}, block]}])
    assert (refused.value.path or "").startswith("messages.0.content.1")


def thinking_turns(signature: str, thinking: str = "hm") -> list[dict[str, object]]:
    block = {"type": "thinking", "thinking": thinking, "signature": signature}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "Go on"},
    ]


def test_genuine_thinking_is_kept_foreign_thinking_passed_over() -> None:
    signature = sign(SIGNER.secret, "hokku", "key_1", "hm")
    assert converse(messages=thinking_turns(signature)).chat.messages[1].thinking == "hm"
    assert converse(messages=thinking_turns("EqQBCkYIBBgCKkA")).chat.messages[1].thinking is None


def test_tampered_thinking_is_refused_by_path() -> None:
    signature = sign(SIGNER.secret, "hokku", "key_1", "hm")
    with pytest.raises(InvalidRequest) as refused:
        converse(messages=thinking_turns(signature, "ha"))
    assert refused.value.path == "messages.1.content.0.signature"


def test_history_of_other_models_is_passed_over() -> None:
    foreign = [
        {"type": "redacted_thinking", "data": "x"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "text", "text": "Found it."},
    ]
    conversation = converse(
        messages=[
            {"role": "user", "content": "Search"},
            {"role": "assistant", "content": foreign},
            {"role": "user", "content": "Thanks"},
        ]
    )
    assert roles(conversation)[1] == ("assistant", "Found it.")


def test_prefill_turns_thinking_off() -> None:
    conversation = converse(messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The"}])
    assert conversation.has_prefill
    assert not conversation.chat.thinking


@pytest.mark.parametrize(
    ("thinking", "may", "must"),
    [
        (None, False, False),
        ({"type": "disabled"}, False, False),
        ({"type": "enabled", "budget_tokens": 1024}, True, True),
        ({"type": "adaptive"}, True, False),
        ({"type": "between_tools"}, False, False),
    ],
)
def test_when_the_model_thinks(thinking: dict[str, object] | None, may: bool, must: bool) -> None:
    conversation = converse(max_tokens=2000, thinking=thinking)
    assert (conversation.chat.thinking, conversation.must_think) == (may, must)


def test_a_forced_tool_is_the_only_one_offered_and_none_offers_none() -> None:
    tools = [WEATHER, {**WEATHER, "name": "other"}]
    forced = converse(tools=tools, tool_choice={"type": "tool", "name": "other"})
    assert [rule.name for rule in forced.rules.tools] == ["other"]
    assert forced.rules.tool_choice == "any"
    assert not converse(tools=tools, tool_choice={"type": "none"}).chat.tools
    single = converse(tools=tools, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert not single.rules.parallel


def test_client_executed_tools_come_with_their_schema() -> None:
    conversation = converse(tools=[{"type": "bash_20250124", "name": "bash"}])
    assert conversation.chat.tools[0].name == "bash"
    assert "command" in conversation.chat.tools[0].parameters["properties"]
