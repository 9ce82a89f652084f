"""Two answers agree by what they are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.routing.checks.agreement import AnswerKind, agree, final_choice, final_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 * 60 = 180. #### 540", 540.0),
        ("The answer is $1,234.50.", 1234.5),
        ("\\boxed{-7}", -7.0),
        ("First 12, then 15", 15.0),
        ("Answer: **42**", 42.0),
        ("none", None),
    ],
)
def test_the_number_that_an_answer_ends_in(text: str, number: float | None) -> None:
    assert final_number(text) == number


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).", "B"),
        ("A is tempting, but no.\nAnswer: C", "C"),
        ("**D**) because of heat", "D"),
        ("b", "B"),
        ("I don't know", None),
    ],
)
def test_the_letter_that_an_answer_chooses(text: str, letter: str | None) -> None:
    assert final_choice(text) == letter


@pytest.mark.parametrize(
    ("first", "second", "kind", "share"),
    [
        ("#### 18", "She makes $18 every day. The answer is 18.00", AnswerKind.NUMBER, 1.0),
        ("#### 18", "#### 19", AnswerKind.NUMBER, 0.0),
        ("Answer: B", "The answer is (b)", AnswerKind.CHOICE, 1.0),
        ("Refund request", "refund request.", AnswerKind.LABEL, 1.0),
        ("Refund request", "Card lost", AnswerKind.LABEL, 0.0),
        ('{"a": 1, "b": "X y"}', '```json\n{"b": "x  Y", "a": 1.0}\n```', AnswerKind.JSON, 1.0),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', AnswerKind.JSON, 0.5),
        ("```python\nx = 1  # one\n```", "Here:\n```python\nx   =  1\n```", AnswerKind.CODE, 1.0),
    ],
)
def test_answers_of_a_kind(first: str, second: str, kind: AnswerKind, share: float) -> None:
    found = agree(first, second)
    assert (found.kind, found.share) == (kind, pytest.approx(share))


def test_code_that_differs_is_never_the_same() -> None:
    assert 0.0 < agree("```\nx = 1\n```", "```\nx = 2\n```", AnswerKind.CODE).share < 1.0


def test_text_overlaps_and_its_numbers_weigh_more() -> None:
    same = agree(
        "The meeting was moved to room 12 on Monday", "On Monday the meeting was moved to room 12", AnswerKind.TEXT
    )
    other = agree(
        "The meeting was moved to room 12 on Monday", "On Monday the meeting was moved to room 14", AnswerKind.TEXT
    )
    assert same.share == 1.0
    assert other.share < 0.5


def test_what_cannot_be_found_agrees_with_nothing() -> None:
    for kind in (AnswerKind.NUMBER, AnswerKind.CHOICE, AnswerKind.LABEL, AnswerKind.JSON, AnswerKind.TEXT):
        assert agree("", "", kind).share == 0.0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(AnswerKind))
def test_agreement_is_a_share_and_goes_both_ways(first: str, second: str, kind: AnswerKind) -> None:
    there, back = agree(first, second, kind).share, agree(second, first, kind).share
    assert 0.0 <= there <= 1.0
    assert there == pytest.approx(back)
