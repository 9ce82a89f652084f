"""Errors on the wire: a RengaError as a response body and as a stream's last event, and back.

Owns: the error body's shape. Must never know: HTTP responses, or which error means what (`errors.py` says it).

Source: messages-api notes, section 1.10.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from renga.errors import BY_STATUS, ApiError, RengaError
from renga.protocols.messages.events.event_types import ErrorBody, ErrorDetails, ErrorEvent


class ErrorResponse(Struct, frozen=True):
    """The body of every response that is not a success."""

    type: Literal["error"]
    error: ErrorBody
    request_id: str | None = None


_CLASS_BY_TYPE: dict[str, type[RengaError]] = {}
for _error_class in BY_STATUS.values():
    # Several statuses share invalid_request_error; the first, 400, is what a stream's error event means by it.
    _CLASS_BY_TYPE.setdefault(_error_class.type, _error_class)


def _body(error: RengaError) -> ErrorBody:
    details = ErrorDetails(error_code=error.error_code) if error.error_code else None
    return ErrorBody(type=error.type, message=error.sentence(), details=details)


def encode_error(error: RengaError, request_id: str) -> bytes:
    """An error as a response body."""
    return msgspec.json.encode(ErrorResponse("error", _body(error), request_id))


def error_event(error: RengaError, request_id: str | None = None) -> ErrorEvent:
    """An error as the last event of a stream that has begun."""
    return ErrorEvent(_body(error), request_id)


def error_from_event(event: ErrorEvent) -> RengaError:
    """The error that an error event stands for. A type that is not known is an ApiError."""
    error_class = _CLASS_BY_TYPE.get(event.error.type, ApiError)
    code = event.error.details.error_code if event.error.details else None
    return error_class(event.error.message, error_code=code)
