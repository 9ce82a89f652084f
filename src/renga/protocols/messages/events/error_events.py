"""Errors as the last event of a stream that has begun, and back.

Owns: how a RengaError and an error event stand for each other. Must never know: response bodies, or which error
means what (`errors.py` says it).

Source: docs/reference/messages-api.md, "Errors".
"""

from __future__ import annotations

from renga.errors import BY_STATUS, ApiError, RengaError
from renga.protocols.messages.events.event_types import ErrorBody, ErrorDetails, ErrorEvent

_CLASS_BY_TYPE: dict[str, type[RengaError]] = {}
for _error_class in BY_STATUS.values():
    # Several statuses share invalid_request_error; the first, 400, is what a stream's error event means by it.
    _CLASS_BY_TYPE.setdefault(_error_class.type, _error_class)


def error_body(error: RengaError) -> ErrorBody:
    """What an error says on the wire, in a response's body as in a stream's last event."""
    details = ErrorDetails(error_code=error.error_code) if error.error_code else None
    return ErrorBody(type=error.type, message=error.sentence(), details=details)


def error_event(error: RengaError, request_id: str | None = None) -> ErrorEvent:
    """An error as the last event of a stream that has begun."""
    return ErrorEvent(error_body(error), request_id)


def error_from_event(event: ErrorEvent) -> RengaError:
    """The error that an error event stands for. A type that is not known is an ApiError."""
    error_class = _CLASS_BY_TYPE.get(event.error.type, ApiError)
    code = event.error.details.error_code if event.error.details else None
    return error_class(event.error.message, error_code=code)
