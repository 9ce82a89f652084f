"""Two answers are compared only where two right answers are alike, and the reference alone says whether they are."""

from __future__ import annotations

import pytest
from tests.routing.conftest import ask, ask_for_json, call, say

from renga.routing.checks.paired_scores import score_against

LONG = "It depends on what you want from it, and on how long you are willing to wait for that."


@pytest.mark.parametrize(
    ("reference", "other", "score"),
    [
        ("The answer is 42.", "So it must be 42", 1.0),
        ("The answer is 42.", "I am not sure about this one.", 0.0),
        ("refund_status", "Refund_Status.", 1.0),
        ("refund_status", "Your refund is on its way; we will write as soon as it has been booked.", 0.0),
        ("(B)", "The answer is B", 1.0),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5),
        (LONG, LONG, None),
        (LONG, "42", None),
        ("```python\nx = 1\n```", "```python\nx = 2\n```", None),
        ("", "42", None),
    ],
)
def test_the_reference_says_how(reference: str, other: str, score: float | None) -> None:
    assert score_against(ask("?"), say(reference), say(other)) == score


def test_a_schema_and_tool_calls_are_compared_as_json() -> None:
    request = ask_for_json("?", b'{"type": "object"}')
    assert score_against(request, say('{"a": 1}'), say("no idea")) == 0.0
    weather = call("get_weather", b'{"city": "Bonn"}')
    assert score_against(ask("?"), weather, weather) == 1.0
    assert score_against(ask("?"), weather, say("It rains in Bonn.")) == 0.0
