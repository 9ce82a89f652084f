"""The Message Batches resource: its objects, the requests of a batch, the lines of its results.

Owns: their shapes, and which prefix of a request makes it a neighbour of another.
Must never know: how a batch is stored or run. The body of a create request is taken apart by
`protocols/resources/batch_body.py`.

Source: docs/reference/messages-api.md, "Message batches".
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from renga.errors import InvalidRequest, RengaError
from renga.protocols.messages.errors import encode_error

MAX_REQUESTS = 100_000
MAX_BODY_BYTES = 256 * 1024 * 1024
LIFE_S = 24 * 3600
RESULTS_S = 29 * 24 * 3600
"""How much a batch may hold, how long it may run, how long its results are kept after it was made.

Source: docs/reference/messages-api.md, "Limits of size and number".
"""

ProcessingStatus: TypeAlias = Literal["in_progress", "canceling", "ended"]

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Source: docs/reference/messages-api.md, "Message batches"."""


class RequestCounts(Struct, frozen=True):
    """How many requests are where. Everything is `processing` until the whole batch has ended."""

    processing: int
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class BatchProgress(Struct, frozen=True):
    """Ours: how far a batch is while the API's counts still say `processing` of everything."""

    done: int


class MessageBatch(Struct, frozen=True, tag_field="type", tag="message_batch", omit_defaults=True):
    """A batch as the API shows it."""

    id: str
    processing_status: ProcessingStatus
    request_counts: RequestCounts
    created_at: str
    expires_at: str
    ended_at: str | None
    archived_at: str | None
    cancel_initiated_at: str | None
    results_url: str | None
    renga: BatchProgress | None = None
    """Only where one batch is asked for that has not ended."""


class MessageBatchPage(Struct, frozen=True):
    """A page of batches, the newest of them first."""

    data: tuple[MessageBatch, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedMessageBatch(Struct, frozen=True, tag_field="type", tag="message_batch_deleted"):
    """What the API answers when a batch was deleted."""

    id: str


class BatchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One request of a batch. What `params` says is looked at when it runs."""

    custom_id: str
    params: msgspec.Raw


class _BatchHead(Struct, frozen=True):
    """What a request's prompt begins with."""

    model: msgspec.Raw | UnsetType = UNSET
    tools: msgspec.Raw | UnsetType = UNSET
    system: msgspec.Raw | UnsetType = UNSET
    messages: tuple[msgspec.Raw, ...] = ()


class _FirstTurn(Struct, frozen=True):
    content: tuple[msgspec.Raw, ...]


_decode_request = msgspec.json.Decoder(BatchRequest).decode
_decode_beginning = msgspec.json.Decoder(_BatchHead).decode
_decode_first_turn = msgspec.json.Decoder(_FirstTurn).decode


def decode_batch_request(data: bytes, position: int) -> BatchRequest:
    """One element of `requests`.

    Raises: InvalidRequest with its path.
    """
    path = f"requests.{position}"
    try:
        request = _decode_request(data)
        if not data.isascii():
            data.decode("utf-8")  # strings that stay raw are not looked at by the decoder
    except msgspec.ValidationError as error:
        raise _invalid(error, path) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"Not valid JSON: {error}.", path=path) from None
    if not _CUSTOM_ID.fullmatch(request.custom_id):
        raise InvalidRequest("Must be 1 to 64 characters of a-z, A-Z, 0-9, - and _.", path=f"{path}.custom_id")
    if bytes(request.params)[:1] != b"{":
        raise InvalidRequest("Must be an object.", path=f"{path}.params")
    return request


def prefix_of(params: bytes) -> bytes:
    """Hashes of what a request begins with, coarse first, so that sorting by it puts shared prefixes side by side.

    16 bytes for model, tools and system, 8 for the first block of the first message, 8 for all of that message.
    Cost: about 3 us and a hash over the bytes.
    """
    try:
        beginning = _decode_beginning(params)
    except (msgspec.DecodeError, RecursionError):
        return bytes(32)
    head = b"\0".join(
        b"" if part is UNSET else bytes(part) for part in (beginning.model, beginning.tools, beginning.system)
    )
    first = bytes(beginning.messages[0]) if beginning.messages else b""
    try:
        blocks = _decode_first_turn(first).content
        opening = bytes(blocks[0]) if blocks else b""
    except msgspec.DecodeError:
        opening = first
    return sha256(head).digest()[:16] + sha256(opening).digest()[:8] + sha256(first).digest()[:8]


def render_line(custom_id: str, outcome: str, result: bytes | None) -> bytes:
    """One line of the results. `result` is what `succeeded_result` and `errored_result` make."""
    body = result if result is not None else b'{"type":"%b"}' % outcome.encode("ascii")
    return b'{"custom_id":%b,"result":%b}\n' % (msgspec.json.encode(custom_id), body)


def succeeded_result(message: bytes) -> bytes:
    """The result of a request that was answered. `message` is the answer as JSON."""
    return b'{"type":"succeeded","message":%b}' % message


def errored_result(error: RengaError, request_id: str) -> bytes:
    """The result of a request that could not be answered."""
    return b'{"type":"errored","error":%b}' % encode_error(error, request_id)


def _invalid(error: msgspec.ValidationError, path: str) -> InvalidRequest:
    what, _, where = str(error).partition(" - at `$")
    if named := re.fullmatch(r"Object missing required field `(.+)`", what):
        return InvalidRequest("Field required.", path=f"{path}.{named[1]}")
    if named := re.fullmatch(r"Object contains unknown field `(.+)`", what, re.DOTALL):
        return InvalidRequest("Extra inputs are not permitted.", path=f"{path}.{named[1][:100]}")
    if where:
        return InvalidRequest("Must be a string.", path=path + where.rstrip("`"))
    return InvalidRequest("Must be an object with custom_id and params.", path=path)
