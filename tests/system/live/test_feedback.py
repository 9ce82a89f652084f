"""`POST /v1/feedback` against a running server: who may judge what, and what is said about a wrong body."""

from __future__ import annotations

import pytest

from renga.accounting.keys.key_ring import digest_secret
from renga.domain.keys import KeyRow
from renga.domain.outcomes import OutcomeQuery

OTHER = "sk-renga-somebody-else"


def say(model: str, prompt: str) -> str:
    return "It is 42."


async def test_a_key_judges_its_own_answers(live) -> None:
    async with live(say) as server:
        with server.open_database() as database:
            database.keys.create(KeyRow("key_other", "other", digest_secret(OTHER), "else", 1))
        first, second = await server.ask("6 x 7?", "haiku"), await server.ask("6 x 7?", "opus")
        request_id, message_id = first.headers["request-id"], second.json()["id"]

        answer = await server.send("POST", "/v1/feedback", {"request_id": request_id, "score": 0.5})
        assert (answer.status, answer.json()) == (
            200,
            {
                "type": "feedback",
                "request_id": request_id,
                "policy": None,
                "judged": "haiku",
                "score": 0.5,
                "label": None,
            },
        )
        body = {"message_id": message_id, "score": 1, "label": "right"}
        for _ in range(2):
            answer = await server.send("POST", "/v1/feedback", body)
            assert answer.json()["judged"] == "opus"
            assert answer.json()["request_id"] == second.headers["request-id"]
        foreign = await server.send("POST", "/v1/feedback", body, secret=OTHER)
        assert (foreign.status, foreign.json()["error"]["type"]) == (404, "not_found_error")
        missing = await server.send("POST", "/v1/feedback", {"request_id": "req_0", "score": 1})
        assert missing.json()["error"]["message"] == foreign.json()["error"]["message"], "others' requests do not show"
        with server.open_database() as database:
            rows = database.outcomes.read(OutcomeQuery(("feedback",)))
        assert [(row.scores, row.label, row.propensity) for row in rows] == [
            ({"haiku": 0.5}, None, None),
            ({"opus": 1.0}, "right", None),
        ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The body is not valid JSON"),
        (b"[]", "The body must be an object."),
        (b'{"score": 1}', "request_id: Give one of request_id and message_id."),
        (b'{"score": 1, "request_id": "a", "message_id": "b"}', "request_id: Give one of"),
        (b'{"request_id": "req_1"}', "score: Field required."),
        (b'{"request_id": "req_1", "score": "good"}', "score: Must be a number."),
        (b'{"request_id": "req_1", "score": 1.5}', "score: Must be from 0 to 1."),
        (b'{"request_id": 7, "score": 1}', "request_id: Must be a string."),
        (b'{"request_id": "req 1", "score": 1}', "request_id: Not an id of this API."),
        (b'{"request_id": "req_1", "score": 1, "label": ""}', "label: Must be 1 to 100 characters."),
        (b'{"request_id": "req_1", "score": 1, "user": "me"}', "user: Extra inputs are not permitted."),
    ],
)
def test_a_wrong_body_is_named_by_its_path(body: bytes, message: str) -> None:
    from renga.errors import InvalidRequest
    from renga.protocols.resources.feedback import decode_feedback

    with pytest.raises(InvalidRequest) as caught:
        decode_feedback(body)
    assert caught.value.sentence().startswith(message)


async def test_a_wrong_body_is_a_400(live) -> None:
    async with live(say) as server:
        answer = await server.send("POST", "/v1/feedback", {"score": 1})
        assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert (await server.send("GET", "/v1/feedback")).status == 405
