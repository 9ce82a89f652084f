"""A message is a fold over its stream."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.errors import ApiError, Overloaded
from renga.protocols.messages.blocks import (
    RedactedThinkingBlock,
    ServerToolUseBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from renga.protocols.messages.events.accumulator import MessageAccumulator, fold, fold_batches
from renga.protocols.messages.events.event_types import (
    CacheCreation,
    CompleteMessage,
    ErrorBody,
    ErrorEvent,
    Evidence,
    Message,
    OutputTokensDetails,
    Ping,
    RawEvent,
    ServerToolUsage,
    Usage,
    kind_of,
)
from renga.protocols.messages.events.message_split import split
from renga.protocols.messages.events.usage_tracker import UsageTracker
from renga.protocols.messages.sse import encode_batch
from renga.testing.stream_checker import check_stream

TEXT = st.text(max_size=20)
COUNT = st.integers(0, 1000)
OBJECT = st.dictionaries(TEXT, st.integers() | TEXT | st.none(), max_size=3).map(
    lambda value: msgspec.Raw(msgspec.json.encode(value))
)
CITATIONS = st.just(msgspec.UNSET) | st.lists(
    st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": TEXT}), max_size=3
).map(lambda value: msgspec.Raw(msgspec.json.encode(value)))
NAME = st.text("abc_", min_size=1, max_size=5)
BLOCK = (
    st.builds(TextBlock, TEXT, CITATIONS)
    | st.builds(ThinkingBlock, TEXT, TEXT.filter(bool))
    | st.builds(RedactedThinkingBlock, TEXT)
    | st.builds(ToolUseBlock, NAME, NAME, OBJECT)
    | st.builds(ServerToolUseBlock, NAME, NAME, OBJECT)
)
DETAILS = st.just(msgspec.UNSET) | st.builds(OutputTokensDetails, COUNT)
USAGE = st.builds(
    Usage,
    st.integers(1, 1000),
    COUNT,
    COUNT,
    st.just(msgspec.UNSET) | st.builds(CacheCreation, COUNT, COUNT),
    COUNT,
    DETAILS,
    st.just(msgspec.UNSET) | st.builds(ServerToolUsage, COUNT, COUNT),
    st.just(msgspec.UNSET) | st.just("standard"),
)
MESSAGE = st.builds(
    Message,
    model=NAME,
    id=NAME.map("msg_".__add__),
    content=st.lists(BLOCK, max_size=4).map(tuple),
    stop_reason=st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal"]),
    stop_sequence=st.none() | NAME,
    stop_details=st.just(msgspec.UNSET) | OBJECT,
    usage=USAGE,
)


def folded(events):
    return fold_batches([events]).message()


def relayed(events):
    return [RawEvent(kind_of(event), msgspec.json.encode(event)) for event in events]


@given(MESSAGE)
def test_fold_undoes_split(message):
    assert folded(split(message)) == message


@given(MESSAGE)
def test_a_relayed_stream_folds_to_the_same(message):
    assert folded(relayed(split(message))) == message


@given(MESSAGE)
def test_what_split_makes_is_a_stream(message):
    content = tuple(block for block in message.content if not isinstance(block, TextBlock) or block.text)
    checker = check_stream(encode_batch(split(msgspec.structs.replace(message, content=content))))
    assert checker.kinds[-1] == "message_stop"


@given(MESSAGE)
def test_a_tally_sees_what_the_fold_sees(message):
    for events in (split(message), relayed(split(message)), [CompleteMessage(b"{}", message)]):
        tally = UsageTracker()
        tally.watch(events)
        assert tally.usage == message.usage
        assert tally.stop_reason == message.stop_reason
        assert tally.message_id == message.id
        assert tally.ended
        assert tally.error is None


MESSAGE_1 = Message(
    model="m", id="msg_1", content=(TextBlock("Hi"),), stop_reason="end_turn", usage=Usage(3, output_tokens=2)
)


async def test_fold_reads_batches():
    async def batches():
        events = split(MESSAGE_1)
        yield events[:3]
        yield [Ping(), *events[3:]]
        yield [Evidence(-1.0, -2.0, 2)]

    assert (await fold(batches())).message() == MESSAGE_1


async def test_a_stream_that_breaks_off_folds_to_nothing():
    async def batches():
        yield split(MESSAGE_1)[:-1]

    with pytest.raises(ApiError, match="broke off"):
        await fold(batches())
    with pytest.raises(ApiError, match="broke off"):
        fold_batches([split(MESSAGE_1)[:3], split(MESSAGE_1)[3:-1]])


def test_a_whole_answer_keeps_its_bytes():
    folder = MessageAccumulator()
    folder.add_event(CompleteMessage(b'{"as": "it came"}', MESSAGE_1))
    folder.add_event(Evidence(-1.0, -2.0, 2))
    assert folder.body() == b'{"as": "it came"}'
    assert folder.message() == MESSAGE_1
    assert folder.evidence == Evidence(-1.0, -2.0, 2)


def test_the_body_is_the_message_as_json():
    folder = MessageAccumulator()
    for event in split(MESSAGE_1):
        folder.add_event(event)
    assert msgspec.json.decode(folder.body(), type=Message) == MESSAGE_1
    assert b'"stop_sequence":null' in folder.body()
    assert b"citations" not in folder.body()


@pytest.mark.parametrize("length", range(len(split(MESSAGE_1))))
def test_a_stream_that_breaks_off_is_no_message(length):
    folder = MessageAccumulator()
    for event in split(MESSAGE_1)[:length]:
        folder.add_event(event)
    with pytest.raises(ApiError):
        folder.message()


def test_an_error_event_is_raised():
    error = ErrorEvent(ErrorBody("overloaded_error", "Full."))
    for event in (error, *relayed([error])):
        folder = MessageAccumulator()
        with pytest.raises(Overloaded, match="Full"):
            folder.add_event(event)


def test_an_event_that_cannot_be_read_is_an_error():
    with pytest.raises(ApiError, match="message_start"):
        MessageAccumulator().add_event(RawEvent("message_start", b"{"))


def test_an_event_that_nobody_knows_is_passed_over():
    folder = MessageAccumulator()
    folder.add_event(RawEvent("new_event", b"anything"))
    for event in split(MESSAGE_1):
        folder.add_event(event)
        folder.add_event(RawEvent("new_event", b"anything")) if kind_of(event) != "message_stop" else None
    assert folder.message() == MESSAGE_1


def test_a_broken_stream_used_at_least_its_deltas():
    events = split(MESSAGE_1)
    tally = UsageTracker()
    tally.watch([*events[:4], *events[3:4] * 9])
    assert tally.usage == Usage(3, output_tokens=10)
    assert not tally.ended
    tally.watch([ErrorEvent(ErrorBody("api_error", "Gone."))])
    assert tally.ended
    assert tally.error is not None
    assert tally.usage == Usage(3, output_tokens=10)


def test_a_tally_takes_an_error_that_cannot_be_read_for_an_error():
    for data in (b"{", b'{"type":"ping"}', b'{"type":"error"}'):
        tally = UsageTracker()
        tally.watch([RawEvent("error", data)])
        assert tally.ended
        assert isinstance(tally.error, ApiError)


def test_a_tally_never_raises():
    tally = UsageTracker()
    for kind in ("message_start", "message_delta", "error", "message_stop", "content_block_delta", "new"):
        tally.watch([RawEvent(kind, b"{")])
    assert tally.ended
    assert tally.error is not None


def test_null_counts_of_an_upstream_do_not_erase_those_of_the_start():
    start, *rest = relayed(split(MESSAGE_1))
    delta = (
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":2,"input_tokens":null,"cache_read_input_tokens":null}}'
    )
    assert folded([start, *rest[:-2], RawEvent("message_delta", delta), rest[-1]]) == MESSAGE_1
