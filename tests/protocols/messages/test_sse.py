"""Framing: the splitter against a naive reading of the standard, and batches as bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.errors import ApiError
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.events.event_types import CompleteMessage, Evidence, Message, Ping, RawEvent, Usage
from renga.protocols.messages.events.message_split import split
from renga.protocols.messages.sse import PING, FrameSplitter, encode_batch
from renga.testing.stream_checker import check_stream


def naive_frames(data: bytes) -> list[tuple[str, bytes]]:
    """Section 9.2.6 of the standard, word by word, on bytes that are all there."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    frames, kind, lines = [], b"", []
    for line in text.split(b"\n")[:-1]:
        if not line:
            joined = b"\n".join(lines)
            if joined:
                frames.append((kind.decode("utf-8", "replace") or "message", joined))
            kind, lines = b"", []
            continue
        if line.startswith(b":"):
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"event":
            kind = value
        elif name == b"data":
            lines.append(value)
    return frames


LINES = st.sampled_from(
    [
        b"event: content_block_delta",
        b"event:ping",
        b"event: made up",
        b'data: {"a":1}',
        b'data: {"a":1}   ',
        b"data:{}",
        b"data: [DONE]",
        b"data:",
        b"data",
        b"data: ",
        b": comment",
        b"id: 7",
        b"retry: 10",
        b"unknown: x",
        b"",
        b"",
        b"",
    ]
)


@st.composite
def streams(draw):
    """Lines with any line ends, and the places where the bytes are cut."""
    lines = draw(st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30))
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b"".join(line + end for line, end in lines)
    data += draw(st.sampled_from([b"", b"data: cut", b"\xff"]))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=10)))
    return data, cuts


@given(streams())
def test_however_the_bytes_are_cut_the_frames_are_the_standards(stream):
    data, cuts = stream
    splitter = FrameSplitter()
    frames = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        frames += splitter.push(data[start:end])
    assert frames == naive_frames(data)


@given(streams())
def test_byte_by_byte(stream):
    data, _ = stream
    splitter = FrameSplitter()
    assert [frame for byte in data for frame in splitter.push(bytes([byte]))] == naive_frames(data)


def test_the_end_completes_an_event_that_has_whole_lines():
    splitter = FrameSplitter()
    assert splitter.push(b"event: message_stop\ndata: {}\n") == []
    assert splitter.finish() == [("message_stop", b"{}")]
    assert splitter.finish() == []


def test_the_end_drops_a_line_that_was_cut():
    splitter = FrameSplitter()
    splitter.push(b'event: content_block_delta\ndata: {"type":"con')
    assert splitter.finish() == []


@pytest.mark.parametrize("chunk", [b"x" * 10, b"data: x\n" * 2])
def test_an_event_without_end_is_given_up(chunk):
    splitter = FrameSplitter(max_frame_bytes=100)
    with pytest.raises(ApiError):
        for _ in range(20):
            splitter.push(chunk)


def test_many_small_events_do_not_add_up_to_a_large_one():
    splitter = FrameSplitter(max_frame_bytes=100)
    assert sum(len(splitter.push(b"data: 0123456789\n\n")) for _ in range(100)) == 100


def test_relayed_bytes_are_not_touched():
    data = b'{"type":"content_block_stop","index":0,"new":null}     '
    assert encode_batch([RawEvent("content_block_stop", data)]) == b"event: content_block_stop\ndata: " + data + b"\n\n"
    assert encode_batch([RawEvent("new_event", b"{}")]) == b"event: new_event\ndata: {}\n\n"


@given(st.lists(st.tuples(st.sampled_from(["ping", "new"]), st.sampled_from([b"{}", b'{"a":\n1}', b"[1,\n\n2]"]))))
def test_frames_round_trip(frames):
    encoded = encode_batch([RawEvent(kind, data) for kind, data in frames])
    assert FrameSplitter().push(encoded) == frames


def test_a_whole_answer_becomes_its_stream_and_evidence_stays_here():
    message = Message(
        model="m", id="msg_1", content=(TextBlock("Hi"),), stop_reason="end_turn", usage=Usage(3, output_tokens=2)
    )
    whole = CompleteMessage(msgspec.json.encode(message), message)
    encoded = encode_batch([whole, Evidence(0.0, 0.0, 2)])
    assert encoded == encode_batch(split(message))
    assert check_stream(encoded).text == "Hi"


def test_the_ping_constant_is_a_ping():
    assert encode_batch([Ping()]) == PING
