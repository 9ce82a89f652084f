"""The writer's events are in the golden order whatever the pieces are."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from renga.models.engine.text.answer_parser import Piece, TextPiece, ThinkingPiece, ToolArguments, ToolEnd, ToolStart
from renga.models.providers.local.event_writer import EventWriter
from renga.protocols.messages.blocks import TextBlock, ThinkingBlock, ToolUseBlock
from renga.protocols.messages.events import event_types
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.signature import SignatureVerdict, Signer, verify

SIGNER = Signer(b"secret", "hokku", "key_1")

words = st.text(st.sampled_from("ab \n"), max_size=6)
tool_calls = st.lists(words, max_size=3).map(
    lambda parts: [
        ToolStart("look"),
        ToolArguments('{"q":"'),
        *map(ToolArguments, map(escape, parts)),
        ToolArguments('"}'),
        ToolEnd(),
    ]
)


def escape(text: str) -> str:
    return msgspec.json.encode(text).decode()[1:-1]


answers = st.lists(
    st.one_of(words.map(lambda w: [TextPiece(w)]), words.map(lambda w: [ThinkingPiece(w)]), tool_calls), max_size=6
)


def folded(pieces: list[Piece], *, show_thinking: bool = True) -> event_types.Message:
    writer = EventWriter(SIGNER, show_thinking=show_thinking, keep_leading_space=False)
    folder = MessageAccumulator()
    folder.add_event(event_types.MessageStart(event_types.Message(model="hokku", id="msg_1")))
    events = writer.write_pieces(pieces)
    writer.close(events)
    for event in events:
        folder.add_event(event)
    folder.add_event(event_types.MessageDelta(event_types.MessageDeltaBody("end_turn"), event_types.DeltaUsage(1)))
    folder.add_event(event_types.MessageStop())
    return folder.message()


@given(answers)
def test_any_pieces_fold_to_well_formed_blocks(parts: list[list[Piece]]) -> None:
    pieces = [piece for part in parts for piece in part]
    message = folded(pieces)
    for block in message.content:
        if isinstance(block, TextBlock):
            assert block.text
            assert not block.text[0].isspace()
        elif isinstance(block, ThinkingBlock):
            verdict = verify(SIGNER.secret, "hokku", "key_1", block.thinking, signature=block.signature)
            assert verdict is SignatureVerdict.GENUINE
        else:
            assert isinstance(block, ToolUseBlock)
            assert set(msgspec.json.decode(block.input)) == {"q"}
    thought = "".join(piece.text for piece in pieces if isinstance(piece, ThinkingPiece))
    assert "".join(b.thinking for b in message.content if isinstance(b, ThinkingBlock)) == thought


def test_omitted_thinking_shows_only_its_signature() -> None:
    message = folded([ThinkingPiece("secret thoughts"), TextPiece("Hi")], show_thinking=False)
    thinking = message.content[0]
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.thinking == ""
    assert verify(SIGNER.secret, "hokku", "key_1", "", signature=thinking.signature) is SignatureVerdict.GENUINE


def test_a_tool_call_is_noticed() -> None:
    writer = EventWriter(SIGNER, show_thinking=True, keep_leading_space=False)
    writer.write_pieces([ToolStart("look"), ToolArguments("{}"), ToolEnd()])
    assert writer.called_tools
