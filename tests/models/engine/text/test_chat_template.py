from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.engine.conftest import HOKKU_LIKE, SPECIAL, TAGS, make_tokenizer_json

from renga.errors import ConfigError, InvalidRequest
from renga.models.engine.text.chat_template import (
    Chat,
    ChatTemplate,
    MessagePlace,
    TemplateMessage,
    TemplateTool,
    TemplateToolCall,
)
from renga.models.engine.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(make_tokenizer_json())
TEMPLATE = ChatTemplate(HOKKU_LIKE, VOCABULARY)
CONTROL = frozenset(VOCABULARY.added_token_ids.values())


def show(token_ids: list[int]) -> str:
    """The prompt as text, control tokens included."""
    return b"".join(VOCABULARY.token_bytes(token_id) for token_id in token_ids).decode()


def user(text: str) -> TemplateMessage:
    return TemplateMessage("user", text)


def test_a_whole_conversation() -> None:
    call = TemplateToolCall("toolu_1", "add", {"a": 1, "b": "é"})
    chat = Chat(
        (
            TemplateMessage("system", "Be brief."),
            user("1+é?"),
            TemplateMessage("assistant", "Let me see.", thinking="Add.", tool_calls=(call,)),
            TemplateMessage("tool", "2", call_id="toolu_1", name="add"),
        ),
        (TemplateTool("add", "Adds.", {"type": "object"}),),
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
    prompt = TEMPLATE.render(Chat((user("Hi"), TemplateMessage("assistant", "Hel")), thinking=True))
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
    call = TemplateToolCall(texts[0], texts[1], arguments)
    chat = Chat(
        (
            TemplateMessage("system", texts[2]),
            user(texts[3]),
            TemplateMessage("assistant", texts[4], thinking=texts[5], tool_calls=(call,)),
            TemplateMessage("tool", texts[6], call_id=texts[0], name=texts[1]),
            TemplateMessage("assistant", texts[7]),
        ),
        (TemplateTool(texts[1], texts[2], {"type": "object", "properties": arguments}),),
    )
    return [token_id for token_id in TEMPLATE.render(chat).token_ids if token_id in CONTROL]


@given(texts=st.lists(_hostile, min_size=3, max_size=3), value=_json)
def test_everything_that_a_client_wrote_is_in_the_prompt(texts: list[str], value: Any) -> None:
    tool = TemplateTool("t", texts[0], {"default": value})
    rendered = show(TEMPLATE.render(Chat((TemplateMessage("system", texts[1]), user(texts[2])), (tool,))).token_ids)
    assert json.dumps({"default": value}, ensure_ascii=False) in rendered
    assert f"<|system|>{texts[1]}" in rendered
    assert f"<|user|>{texts[2]}<|end|>" in rendered


def test_a_template_that_names_a_tools_keys_is_safe() -> None:
    template = ChatTemplate("{% for key in tools[0].function.parameters %}{{ key }}{% endfor %}", VOCABULARY)
    prompt = template.render(Chat((), (TemplateTool("t", "", {"<|end|>": 1}),)))
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
    call = TemplateToolCall("c", "add", {"a": 1, "b": "é"})
    chat = Chat(
        (
            TemplateMessage("system", "Be brief."),
            user("First part.\nSecond part."),
            TemplateMessage("assistant", "So.", tool_calls=(call,)),
            TemplateMessage("tool", "2", call_id="c"),
            TemplateMessage("assistant", "Then it"),
        ),
        (TemplateTool("add", "Adds.", {"type": "object"}),),
        places=(
            MessagePlace(-1),
            MessagePlace(0),
            MessagePlace(1),
            MessagePlace(2, 11),
            MessagePlace(2),
            MessagePlace(3),
            MessagePlace(4),
            MessagePlace(5, 4),
            MessagePlace(5),
        ),
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
