"""Errors as the body of a response.

Owns: the shape of an error's body. Must never know: HTTP responses, or which error means what (`errors.py` at the top
says it); errors inside of streams are `protocols/messages/events/error_events.py`.

Source: docs/reference/messages-api.md, "Errors".
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from renga.errors import RengaError
from renga.protocols.messages.events.error_events import error_body
from renga.protocols.messages.events.event_types import ErrorBody


class ErrorResponse(Struct, frozen=True):
    """The body of every response that is not a success."""

    type: Literal["error"]
    error: ErrorBody
    request_id: str | None = None


def encode_error(error: RengaError, request_id: str) -> bytes:
    """An error as a response body."""
    return msgspec.json.encode(ErrorResponse("error", error_body(error), request_id))
