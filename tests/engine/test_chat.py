from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.conftest import HOKKU_LIKE, SPECIAL, TAGS, make_tokenizer_json

from renga.engine.chat import Chat, ChatMessage, ChatTemplate, ChatTool, ChatToolCall, Place
from renga.engine.vocabulary import Vocabulary
from renga.errors import ConfigError, InvalidRequest

VOCABULARY = Vocabulary(make_tokenizer_json())
TEMPLATE = ChatTemplate(HOKKU_LIKE, VOCABULARY)
CONTROL = frozenset(VOCABULARY.added_token_ids.values())


def show(token_ids: list[int]) -> str:
    """The prompt as text, control tokens included."""
    return b"".join(VOCABULARY.token_bytes(token_id) for token_id in token_ids).decode()


def user(text: str) -> ChatMessage:
    return ChatMessage("user", text)


def test_a_whole_conversation() -> None:
    call = ChatToolCall("toolu_1", "add", {"a": 1, "b": "é"})
    chat = Chat(
        (
            ChatMessage("system", "Be brief."),
            user("1+é?"),
            ChatMessage("assistant", "Let me see.", thinking="Add.", tool_calls=(call,)),
            ChatMessage("tool", "2", call_id="toolu_1", name="add"),
        ),
        (ChatTool("add", "Adds.", {"type": "object"}),),
        thinking=True,
    )
    prompt = TEMPLATE.render(chat)
    assert show(prompt.token_ids) == (
        '<|system|>Be brief.\n<tools>\n{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}\n'
        "</tools>"
        "<|end|><|user|>1+é?<|end|><|assistant|><think>Add.</think>Let me see."
        '<tool_call>{"name":"add","arguments":{"a": 1, "b": "é"}}</tool_call><|end|>'
        "<|tool|>2<|end|><|assistant|><think>"
    )
    assert prompt.thinking_open


def test_prefill_goes_on_after_the_generation_prompt() -> None:
    prompt = TEMPLATE.render(Chat((user("Hi"), ChatMessage("assistant", "Hel")), thinking=True))
    assert show(prompt.token_ids) == "<|user|>Hi<|end|><|assistant|>Hel"
    assert not prompt.thinking_open


_hostile = st.lists(
    st.one_of(
        st.sampled_from([*SPECIAL, *TAGS, "<|", "|>", "<", ">", "end", "|", "\ue000", "0-0\ue001"]), st.text(max_size=4)
    )
).map("".join)
_json = st.recursive(
    st.one_of(_hostile, st.integers(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_hostile, inner, max_size=2)),
    max_leaves=4,
)


@given(texts=st.lists(_hostile, min_size=8, max_size=8), value=_json)
def test_nothing_that_a_client_wrote_becomes_a_control_token(texts: list[str], value: Any) -> None:
    plain = control_tokens(["x"] * 8, {"k": "v"})
    assert control_tokens([text or "x" for text in texts], {"k": value}) == plain


def control_tokens(texts: list[str], arguments: dict[str, Any]) -> list[int]:
    """The control tokens of a chat with these texts in every place that a client can fill."""
    call = ChatToolCall(texts[0], texts[1], arguments)
    chat = Chat(
        (
            ChatMessage("system", texts[2]),
            user(texts[3]),
            ChatMessage("assistant", texts[4], thinking=texts[5], tool_calls=(call,)),
            ChatMessage("tool", texts[6], call_id=texts[0], name=texts[1]),
            ChatMessage("assistant", texts[7]),
        ),
        (ChatTool(texts[1], texts[2], {"type": "object", "properties": arguments}),),
    )
    return [token_id for token_id in TEMPLATE.render(chat).token_ids if token_id in CONTROL]


@given(texts=st.lists(_hostile, min_size=3, max_size=3), value=_json)
def test_everything_that_a_client_wrote_is_in_the_prompt(texts: list[str], value: Any) -> None:
    tool = ChatTool("t", texts[0], {"default": value})
    rendered = show(TEMPLATE.render(Chat((ChatMessage("system", texts[1]), user(texts[2])), (tool,))).token_ids)
    assert json.dumps({"default": value}, ensure_ascii=False) in rendered
    assert f"<|system|>{texts[1]}" in rendered
    assert f"<|user|>{texts[2]}<|end|>" in rendered


def test_a_template_that_names_a_tools_keys_is_safe() -> None:
    template = ChatTemplate("{% for key in tools[0].function.parameters %}{{ key }}{% endfor %}", VOCABULARY)
    prompt = template.render(Chat((), (ChatTool("t", "", {"<|end|>": 1}),)))
    assert show(prompt.token_ids) == "<|end|>"
    assert CONTROL.isdisjoint(prompt.token_ids)


def test_a_templates_refusal_reaches_the_client() -> None:
    template = ChatTemplate("{{ raise_exception('no system here') }}", VOCABULARY)
    with pytest.raises(InvalidRequest, match="no system here"):
        template.render(Chat((user("Hi"),)))


@pytest.mark.parametrize("source", ["{% if %}", "{{ messages[0].content.__class__.mro() }}"])
def test_a_broken_or_prying_template_is_refused(source: str) -> None:
    with pytest.raises((ConfigError, InvalidRequest)):
        ChatTemplate(source, VOCABULARY).render(Chat((user("Hi"),)))


def test_what_hugging_face_gives_to_templates() -> None:
    source = (
        "{{ bos_token }}{% generation %}{{ strftime_now('%Y')[:2] }}{% endgeneration %}"
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content | trim }}{% endfor %}"
    )
    template = ChatTemplate(source, VOCABULARY, variables={"bos_token": "<|endoftext|>"})
    assert show(template.render(Chat((user("a"), user("b")))).token_ids) == "<|endoftext|>20b"


def test_places_are_found_among_the_tokens() -> None:
    call = ChatToolCall("c", "add", {"a": 1, "b": "é"})
    chat = Chat(
        (
            ChatMessage("system", "Be brief."),
            user("First part.\nSecond part."),
            ChatMessage("assistant", "So.", tool_calls=(call,)),
            ChatMessage("tool", "2", call_id="c"),
            ChatMessage("assistant", "Then it"),
        ),
        (ChatTool("add", "Adds.", {"type": "object"}),),
        places=(Place(-1), Place(0), Place(1), Place(2, 11), Place(2), Place(3), Place(4), Place(5, 4), Place(5)),
    )
    prompt = TEMPLATE.render(chat)
    before = [show(prompt.token_ids[:position]) for position in prompt.positions]
    assert before[0] == ""
    assert before[1] == before[2]  # this template writes the tools behind the system prompt
    endings = ['ct"}}', "t part.", "d part.", 'é"}', "<|tool|>2", ">Then", ">Then it"]
    assert all(text.endswith(ending) for text, ending in zip(before[2:], endings, strict=True)), before
    assert list(prompt.positions) == sorted(prompt.positions)
    assert prompt.positions[-1] == len(prompt.token_ids)
    assert TEMPLATE.render(Chat(chat.messages, chat.tools)).token_ids == prompt.token_ids
