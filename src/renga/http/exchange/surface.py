"""The seam between what clients speak and what answers: a surface is one wire format of requests and answers.

Owns: the types that every surface fills in. Must never know: any format. `http/messages/surface.py` is one to read.

A route names its surface (`Route(..., surface=MESSAGES)`), and everything that is said to its clients has that
surface's shape: answers, streams, what is sent in a silence, and errors, also those that arise before a route is found
(`SurfaceTable`). What goes in is always an InferenceRequest, and what comes out always Messages events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from renga.accounting.limits.token_buckets import LimitState
from renga.errors import RengaError
from renga.http.exchange.asgi import Header, Receive, Scope, Send
from renga.protocols.messages.events.accumulator import MessageAccumulator
from renga.protocols.messages.events.event_types import Batch
from renga.protocols.messages.inference_request import Caller, InferenceRequest


class RequestHead(Protocol):
    """What a surface may read of a request besides its body; an HttpExchange has it."""

    @property
    def request_id(self) -> str:
        """The id that the request got as it came in."""
        ...

    @property
    def arrived_ns(self) -> int:
        """When it came in, by the monotonic clock."""
        ...

    @property
    def caller(self) -> Caller:
        """Whose key it carries, and what that key allows."""
        ...

    @property
    def path(self) -> str:
        """The path as it was sent, with percent-encoding undone."""
        ...

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Headers by their names in lower case; of a repeated one the last."""
        ...

    @property
    def parameters(self) -> Mapping[str, str]:
        """What stands in the path for the names in the route's path."""
        ...

    def header_values(self, name: bytes) -> list[bytes]:
        """Every value of a header that may be repeated."""
        ...


class SurfaceReply(Struct, frozen=True):
    """A whole response, but for the headers that every response has."""

    status: int
    body: bytes
    headers: tuple[Header, ...]


class StreamEncoder(Protocol):
    """One answer on its way to bytes, batch by batch. It may keep state: numbers of events, what was said before."""

    @property
    def has_ended(self) -> bool:
        """Whether the bytes returned so far hold the stream's end."""
        ...

    def encode_batch(self, batch: Batch) -> bytes:
        """The bytes for the next events, up to the stream's end; empty where nothing of them is for the client."""
        ...

    def encode_failure(self, error: RengaError) -> bytes:
        """The last bytes of a stream that cannot go on. The status is sent by then."""
        ...

    def keep_alive(self) -> bytes:
        """What to send in a silence; empty where the format has nothing for it."""
        ...


class AnswerEncoder(Protocol):
    """How the answer to one request is written. It may hold what was asked for: fields to echo, whether usage is."""

    def encode_message(self, answer: MessageAccumulator) -> SurfaceReply:
        """A whole answer as a response.

        Raises: ApiError where it is not whole.
        """
        ...

    def open_stream(self, request_id: str) -> StreamEncoder:
        """Begin to write the answer as a stream."""
        ...


class DecodedRequest(Struct, frozen=True):
    """A request as its surface has read it: what is asked for, and how to answer."""

    inference: InferenceRequest
    encoder: AnswerEncoder
    stream: bool = False
    """Whether the client wants a stream. Some formats say so in the body, others in the path."""


class HeaderNames(Struct, frozen=True):
    """What a format calls the headers that mean the same in all of them."""

    request_id: bytes
    """In which every response names its request."""
    keys: tuple[bytes, ...]
    """In which a client may send its key, the first that is there counts; `Authorization: Bearer` always works."""
    stream: tuple[Header, ...]
    """Headers of every stream, its content type among them."""


class Surface(Protocol):
    """One wire format in which clients ask and are answered."""

    @property
    def name(self) -> str:
        """The name under which the ledger keeps its requests."""
        ...

    @property
    def header_names(self) -> HeaderNames:
        """What this format calls common headers."""
        ...

    def decode(self, head: RequestHead, body: bytes) -> DecodedRequest:
        """Read a request for an answer.

        Raises: InvalidRequest with the path of what is wrong, as this format spells it.
        """
        ...

    def decode_count(self, head: RequestHead, body: bytes) -> DecodedRequest:
        """Read a request for a count of tokens.

        Raises: as `decode`; NotFound where the format has no such request.
        """
        ...

    def encode_count(self, tokens: int) -> SurfaceReply:
        """A count of tokens as a response."""
        ...

    def encode_error(self, error: RengaError, request_id: str) -> SurfaceReply:
        """An error as a response, with the status and the headers by which this format's clients know it."""
        ...

    def encode_limits(self, state: LimitState) -> list[Header]:
        """The headers that tell a client of its limits, with an answer and when one is reached."""
        ...


class SurfaceTable(Struct, frozen=True):
    """Whose shape an error has where no route says it: of a path that is not there, or of no path at all."""

    default: Surface
    by_prefix: tuple[tuple[str, Surface], ...] = ()
    """Beginnings of paths; the longest that fits counts."""

    def find(self, path: str) -> Surface:
        """The surface of whoever asks for a path."""
        fitting = [(len(prefix), surface) for prefix, surface in self.by_prefix if path.startswith(prefix)]
        return max(fitting, key=lambda found: found[0])[1] if fitting else self.default


class SurfacedApplication(Protocol):
    """An ASGI application that says in which format a path's clients speak, also before there is a request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's life."""
        ...

    def surface_of(self, path: str) -> Surface:
        """The format of whoever asks for a path; "" where the path did not come."""
        ...
