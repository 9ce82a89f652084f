"""The order of events: the table, and the checker that walks it."""

import pytest

from renga.errors import ApiError
from renga.protocols.messages.events.event_order import (
    DELTAS,
    KINDS,
    ORDER,
    TERMINAL,
    TERMINAL_KINDS,
    Phase,
    advance,
    ends_stream,
)
from renga.protocols.messages.events.event_types import (
    CompleteMessage,
    ErrorBody,
    ErrorEvent,
    Evidence,
    Message,
    MessageStop,
    Ping,
    RawEvent,
    WireEvent,
    kind_of,
)
from renga.testing.stream_checker import StreamChecker, check_stream

START = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    '"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
)


def frame(kind, rest=""):
    return f'event: {kind}\ndata: {{"type":"{kind}"{rest}}}\n\n'


def block_start(block, index=0):
    return frame("content_block_start", f',"index":{index},"content_block":{block}')


def delta(body, index=0):
    return frame("content_block_delta", f',"index":{index},"delta":{body}')


def stop(index=0):
    return frame("content_block_stop", f',"index":{index}')


def end(reason='"end_turn"', sequence="null", usage='{"output_tokens":2}'):
    body = f',"delta":{{"stop_reason":{reason},"stop_sequence":{sequence}}},"usage":{usage}'
    return frame("message_delta", body) + frame("message_stop")


TEXT = '{"type":"text","text":""}'
WORD = '{"type":"text_delta","text":"x"}'
TOOL = '{"type":"tool_use","id":"toolu_1","name":"f","input":{}}'
THINKING = '{"type":"thinking","thinking":"","signature":""}'
SIGNATURE = '{"type":"signature_delta","signature":"c2ln"}'


def test_the_table_covers_every_event_type():
    tags = {event.__struct_config__.tag for event in WireEvent.__args__}
    assert tags == KINDS
    assert set(ORDER) == set(Phase)
    assert {phase for phase in Phase if not ORDER[phase]} == TERMINAL


def test_steps():
    assert advance(Phase.START, "message_start") is Phase.BETWEEN
    assert advance(Phase.INSIDE, "error") is Phase.FAILED
    assert advance(Phase.INSIDE, "new_event") is Phase.INSIDE
    for phase, kind in [(Phase.START, "ping"), (Phase.INSIDE, "content_block_start"), (Phase.DONE, "ping")]:
        with pytest.raises(ApiError, match=kind):
            advance(phase, kind)


def test_the_table_says_which_events_end_a_stream():
    ending = {kind for kind in KINDS if kind in TERMINAL_KINDS}
    assert ending == {"message_stop", "error"}
    for row in ORDER.values():
        assert {kind for kind, following in row.items() if following in TERMINAL} == ending & set(row)
    assert "new_event" not in TERMINAL_KINDS


def test_an_event_ends_a_stream_whatever_it_is_held_in():
    whole = CompleteMessage(b"{}", Message(model="m", id="msg_1"))
    for event in (MessageStop(), ErrorEvent(ErrorBody("api_error", "Gone."))):
        assert ends_stream(event)
        assert ends_stream(RawEvent(kind_of(event), b"{}"))
    assert ends_stream(whole)
    assert not any(map(ends_stream, (Ping(), RawEvent("ping", b"{}"), RawEvent("new", b"{}"), Evidence(-1.0, -2.0, 2))))


def test_every_block_delta_of_the_table_is_known():
    assert DELTAS["text"] == {"text_delta", "citations_delta"}


GOOD = {
    "text": block_start(TEXT) + frame("ping") + delta(WORD) + stop() + end(),
    "no blocks": end('"max_tokens"'),
    "two tools": block_start(TOOL)
    + delta('{"type":"input_json_delta","partial_json":""}')
    + delta('{"type":"input_json_delta","partial_json":"{\\"a\\":"}')
    + delta('{"type":"input_json_delta","partial_json":"1}"}')
    + stop()
    + block_start(TOOL, 1)
    + delta('{"type":"input_json_delta","partial_json":"{}"}', 1)
    + stop(1)
    + end('"tool_use"'),
    "thinking": block_start(THINKING) + delta(SIGNATURE) + stop() + end(),
    "stop sequence": end('"stop_sequence"', '"###"'),
    "error": frame("error", ',"error":{"type":"api_error","message":"Gone."}'),
}

BAD = {
    "is not null": START.replace('"stop_reason":null', '"stop_reason":"end_turn"') + end(),
    "the id": START.replace("msg_1", "chatcmpl-1") + end(),
    "stop_sequence is not null": START.replace(',"stop_sequence":null', "") + end(),
    "no usage": START.replace(',"usage":{"input_tokens":3,"output_tokens":1}', "") + end(),
    "no tokens": START.replace('"input_tokens":3', '"input_tokens":0') + end(),
    "without a terminal event": START + block_start(TEXT) + delta(WORD) + stop(),
    "within a frame": START + end()[:-1],
    "ping before message_start": frame("ping") + START + end(),
    "message_stop after error": START
    + frame("error", ',"error":{"type":"api_error","message":"Gone."}')
    + frame("message_stop"),
    "message_stop between blocks": START + frame("message_stop"),
    "index is 1, not 0": START + block_start(TEXT, 1) + stop(1) + end(),
    "content_block_start inside a block": START + block_start(TEXT) + block_start(TEXT, 1) + end(),
    "the index is 0, not 1": START
    + block_start(TEXT)
    + delta(WORD)
    + stop()
    + block_start(TEXT, 1)
    + delta(WORD, 0)
    + stop(1)
    + end(),
    "does not fit": START + block_start(TOOL) + delta(WORD) + stop() + end(),
    "the arguments are no object": START + block_start(TOOL) + stop() + end('"tool_use"'),
    "needs one signature": START + block_start(THINKING) + stop() + end(),
    "not the last delta": START + block_start(THINKING) + delta(SIGNATURE) + delta(SIGNATURE) + stop() + end(),
    "signature starts as None": START
    + block_start('{"type":"thinking","thinking":""}')
    + delta(SIGNATURE)
    + stop()
    + end(),
    "citations is null": START + block_start('{"type":"text","text":"","citations":null}') + stop() + end(),
    "an empty text block": START + block_start(TEXT) + stop() + end(),
    "an empty text_delta": START + block_start(TEXT) + delta('{"type":"text_delta","text":""}') + stop() + end(),
    "the stop_sequence is not named": START + end('"stop_sequence"'),
    "no message_delta gave": START + end("null"),
    "output_tokens was 1 and is 0": START + end(usage='{"output_tokens":0}'),
    "input_tokens was 3 and is 4": START + end(usage='{"output_tokens":2,"input_tokens":4}'),
    "no client knows": START + frame("token") + end(),
    "the data's type": START + end().replace('"type":"message_stop"', '"type":"stop"'),
    "an event line and a data line": START + end().replace("event: message_stop\n", ""),
    "not JSON": START + "event: ping\ndata: {\n\n" + end(),
    "needs type and message": START + frame("error", ',"error":"Gone."').replace('"Gone."', '{"type":"api_error"}'),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_checker_passes_good_streams(name):
    checker = check_stream((START + GOOD[name]).encode())
    assert checker.kinds[0] == "message_start"


@pytest.mark.parametrize("what", BAD)
def test_the_checker_names_what_is_wrong(what):
    with pytest.raises(AssertionError, match=what):
        check_stream(BAD[what].encode())


def test_the_checker_reads_bytes_as_they_come():
    checker = StreamChecker()
    for byte in (START + GOOD["text"]).encode():
        checker.push(bytes([byte]))
    checker.finish()
    assert checker.text == "x"
