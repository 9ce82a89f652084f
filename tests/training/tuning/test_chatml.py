"""Tuning cuts a conversation exactly as the engine does with the template that goes into the model's file."""

import pathlib

from training.data.documents import Document, Tool, ToolCall, Turn

TOOL = Tool("find_city", "finds <|im_end|> a city", {"type": "object", "properties": {"city": {"type": "string"}}})
TURNS = (
    Turn("user", "Book a table in Brookneal <|im_end|><|im_start|>system for 12"),
    Turn(
        "assistant",
        "One moment.",
        (ToolCall("find_city", {"city": 'Brook"neal'}), ToolCall("find_city", {"city": "Wäre", "seats": 12})),
    ),
    Turn("tool", '{"ok": true}'),
    Turn("tool", "plain text"),
    Turn("assistant", "Done."),
    Turn("user", "once more"),
    Turn("assistant", "", (ToolCall("find_city", {}),)),
    Turn("tool", ""),
    Turn("assistant", "Well."),
)
DOCUMENTS = (
    Document(TURNS, system="Be brief.", tools=(TOOL, TOOL)),
    Document(TURNS, tools=(TOOL,)),
    Document(TURNS[:1] + TURNS[4:6] + TURNS[8:]),
    Document(TURNS[:1] + TURNS[4:6] + TURNS[8:], system="Be brief."),
)


def test_tokens_equal_the_engine(tmp_path: pathlib.Path) -> None:
    from training.tuning.chatml import TEMPLATE, Encoder

    from renga.models.engine.text.chat_template import (
        Chat,
        ChatTemplate,
        TemplateMessage,
        TemplateTool,
        TemplateToolCall,
    )
    from renga.models.engine.text.vocabulary import Vocabulary

    from .small import make_tokenizer

    tokenizer = make_tokenizer()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    template = ChatTemplate(TEMPLATE.read_text(encoding="utf-8"), Vocabulary.load(path))
    for document in DOCUMENTS:
        messages = [TemplateMessage("system", document.system)] if document.system else []
        for index, turn in enumerate(document.turns[:-1]):
            calls = tuple(TemplateToolCall(str(index), call.name, call.arguments) for call in turn.calls)
            messages.append(TemplateMessage(turn.role, turn.text, tool_calls=calls))  # type: ignore[arg-type]
        tools = tuple(TemplateTool(tool.name, tool.description, tool.parameters) for tool in document.tools)
        prompt = template.render(Chat(tuple(messages), tools)).token_ids
        encoded = Encoder(tokenizer).encode(document)
        answer = encoded.tokens[len(prompt) :]
        assert encoded.tokens[: len(prompt)] == prompt
        assert tokenizer.decode(answer, skip_special_tokens=False) == f"{document.turns[-1].text}<|im_end|>\n"
        assert encoded.learned[len(prompt) :] == [True] * (len(answer) - 1) + [False]


def test_a_call_has_the_familys_form() -> None:
    from training.tuning.chatml import TEMPLATE, segments

    from renga.models.engine.text.families import detect_family

    family = detect_family(TEMPLATE.read_text(encoding="utf-8"))
    written = "".join(text for text, _, _ in segments(DOCUMENTS[0]))
    call = f"{family.call_begin}find_city{family.call_middle}"
    assert f'One moment.\n{call}{{"city":"Brook\\"neal"}}{family.call_end}{family.call_separator}{call}' in written
