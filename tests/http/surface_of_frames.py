"""A second surface for tests, as unlike the Messages API as the seam lets one be.

A stream is binary frames (length, kind, payload) as a cloud's event stream is; the model and whether it streams stand
in the path; errors have another shape, other statuses and their name in a header; a silence is an empty frame.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from renga.accounting.limits.token_buckets import LimitState
from renga.errors import InvalidRequest, Overloaded, RengaError
from renga.http.exchange.asgi import Header
from renga.http.exchange.error_headers import render_error_headers
from renga.http.exchange.inference_routes import answer_request, count_request_tokens
from renga.http.exchange.surface import DecodedRequest, HeaderNames, RequestHead, SurfaceReply, SurfaceTable
from renga.http.messages.surface import MESSAGES
from renga.http.public_routes import PUBLIC_ROUTES
from renga.http.route_table import Route
from renga.inference import InferenceRequest
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_order import ends_stream
from renga.protocols.messages.events.event_types import Batch, ContentBlockDelta, ErrorEvent, TextDelta

FRAMES_TYPE = (b"content-type", b"application/x-frames")


class Question(Struct, forbid_unknown_fields=True):
    """The body of a request."""

    ask: str
    shout: bool = False


def frame(kind: bytes, payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + kind + payload


def read_frames(data: bytes) -> list[tuple[bytes, bytes]]:
    frames: list[tuple[bytes, bytes]] = []
    while data:
        size = int.from_bytes(data[:4], "big")
        frames.append((data[4:5], data[5 : 5 + size]))
        data = data[5 + size :]
    return frames


class FrameStreamEncoder:
    """Numbers its frames, silences included: a state that a format may need."""

    def __init__(self, shout: bool) -> None:
        self.has_ended = False
        self._shout = shout
        self._number = 0

    def encode_batch(self, batch: Batch) -> bytes:
        data = b""
        for event in batch:
            if isinstance(event, ContentBlockDelta) and isinstance(event.delta, TextDelta):
                text = event.delta.text.upper() if self._shout else event.delta.text
                data += self._frame(b"T", text.encode())
            elif isinstance(event, ErrorEvent):
                self.has_ended = True
                return data + self._frame(b"X", event.error.message.encode())
            elif ends_stream(event):
                self.has_ended = True
                return data + self._frame(b"E", b"")
        return data

    def encode_failure(self, error: RengaError) -> bytes:
        self.has_ended = True
        return self._frame(b"X", error.sentence().encode())

    def keep_alive(self) -> bytes:
        return self._frame(b"K", b"")

    def _frame(self, kind: bytes, payload: bytes) -> bytes:
        self._number += 1
        return frame(kind, b"%d:" % self._number + payload)


class FrameAnswerEncoder(Struct, frozen=True):
    """What the request asked for decides how its answer looks."""

    shout: bool

    def encode_message(self, answer: MessageAccumulator) -> SurfaceReply:
        text = "".join(block.text for block in answer.message().content)
        tokens = b"%d" % answer.message().usage.output_tokens
        return SurfaceReply(201, (text.upper() if self.shout else text).encode(), (FRAMES_TYPE, (b"x-tokens", tokens)))

    def open_stream(self, request_id: str) -> FrameStreamEncoder:
        return FrameStreamEncoder(self.shout)


class FrameSurface(Struct, frozen=True):
    name: str = "frames"
    header_names: HeaderNames = HeaderNames(b"x-frame-id", (b"x-frame-key",), (FRAMES_TYPE,))

    def decode(self, head: RequestHead, body: bytes) -> DecodedRequest:
        try:
            question = msgspec.json.decode(body, type=Question)
        except msgspec.MsgspecError as error:
            raise InvalidRequest(str(error)) from None
        turns = [{"role": "user", "content": question.ask}]
        raw = msgspec.json.encode({"model": head.parameters["model"], "max_tokens": 50, "messages": turns})
        message = decode_request(raw, "2023-06-01")
        inference = InferenceRequest(message, raw, head.caller, head.request_id, self.name, head.arrived_ns)
        return DecodedRequest(inference, FrameAnswerEncoder(question.shout), head.path.endswith(":stream"))

    def decode_count(self, head: RequestHead, body: bytes) -> DecodedRequest:
        return self.decode(head, body)

    def encode_count(self, tokens: int) -> SurfaceReply:
        return SurfaceReply(200, b"%d" % tokens, (FRAMES_TYPE,))

    def encode_error(self, error: RengaError, request_id: str) -> SurfaceReply:
        status = 503 if isinstance(error, Overloaded) else error.status
        name = type(error).__name__.strip("_")
        body = msgspec.json.encode({"oops": error.sentence(), "id": request_id})
        return SurfaceReply(
            status, body, (FRAMES_TYPE, (b"x-frame-error", name.encode()), *render_error_headers(error))
        )

    def encode_limits(self, state: LimitState) -> list[Header]:
        return []


FRAMES = FrameSurface()
FRAME_ROUTES = (
    *PUBLIC_ROUTES,
    Route("POST", "/frames/{project}/models/{model}:ask", answer_request, surface=FRAMES),
    Route("POST", "/frames/{project}/models/{model}:stream", answer_request, surface=FRAMES),
    Route("POST", "/frames/{project}/models/{model}:count", count_request_tokens, surface=FRAMES),
)
FRAME_SURFACES = SurfaceTable(MESSAGES, (("/frames/", FRAMES),))
