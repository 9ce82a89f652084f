"""Errors on the wire."""

import msgspec
import pytest

from renga.errors import BY_STATUS, ApiError, InvalidRequest
from renga.protocols.messages.errors import encode_error
from renga.protocols.messages.events.error_events import error_event, error_from_event
from renga.protocols.messages.events.event_types import ErrorBody, ErrorEvent


def test_the_body_of_an_error():
    error = InvalidRequest("Field required.", path="model", hint="name one", error_code="some_code")
    assert msgspec.json.decode(encode_error(error, "req_1")) == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "model: Field required. (name one)",
            "details": {"error_code": "some_code"},
        },
        "request_id": "req_1",
    }
    assert b"details" not in encode_error(ApiError("Gone."), "req_1")


@pytest.mark.parametrize("error_class", BY_STATUS.values())
def test_an_error_survives_its_event(error_class):
    error = error_class("What happened.", error_code="a_code")
    again = error_from_event(error_event(error, "req_1"))
    assert (again.type, again.message, again.error_code) == (error.type, error.message, error.error_code)


def test_an_unknown_type_is_an_api_error():
    assert type(error_from_event(ErrorEvent(ErrorBody("new_error", "What?")))) is ApiError
