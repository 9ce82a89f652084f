"""What a client says of an answer: `POST /v1/feedback`. A route of Renga's own.

Must never know: whose answer it was, what the score is used for.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from renga.errors import InvalidRequest

LABEL_CHARACTERS = 100
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class FeedbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the two ids, and a score."""

    score: float
    """0: worthless, 1: as good as can be."""
    request_id: str | None = None
    message_id: str | None = None
    label: str | None = None
    """A word of the client's own, as `wrong_total`. It is stored: no place for the prompt."""


class FeedbackAnswer(Struct, frozen=True):
    """The response to feedback: the outcome that was recorded for the request."""

    request_id: str
    policy: str | None
    """None where no policy decided."""
    judged: str
    """The tier that had answered, or the target where the client had named it."""
    score: float
    label: str | None
    type: str = "feedback"


_decode = msgspec.json.Decoder(FeedbackBody).decode


def decode_feedback(body: bytes) -> FeedbackBody:
    """Read and check a body.

    Raises: InvalidRequest with the path of what is wrong.
    """
    try:
        feedback = _decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    if not 0.0 <= feedback.score <= 1.0:
        raise InvalidRequest("Must be from 0 to 1.", path="score")
    if (feedback.request_id is None) == (feedback.message_id is None):
        raise InvalidRequest("Give one of request_id and message_id.", path="request_id")
    for name, value in (("request_id", feedback.request_id), ("message_id", feedback.message_id)):
        if value is not None and not _ID.fullmatch(value):
            raise InvalidRequest("Not an id of this API.", path=name)
    if feedback.label is not None and not 0 < len(feedback.label) <= LABEL_CHARACTERS:
        raise InvalidRequest(f"Must be 1 to {LABEL_CHARACTERS} characters.", path="label")
    return feedback


def _invalid(error: msgspec.ValidationError) -> InvalidRequest:
    what, _, where = str(error).partition(" - at `$")
    path = where.strip(".`") or None
    if named := re.fullmatch(r"Object (?:missing required|contains unknown) field `(.+)`", what, re.DOTALL):
        missing = what.startswith("Object missing")
        return InvalidRequest("Field required." if missing else "Extra inputs are not permitted.", path=named[1][:100])
    if path is None:
        return InvalidRequest("The body must be an object.")
    return InvalidRequest("Must be a number." if path == "score" else "Must be a string.", path=path)
