"""Features are the same everywhere, bounded, and see words, not their places."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.conftest import WEATHER, ask, ask_for_json

from renga.protocols.messages.request import MessageRequest, Turn
from renga.routing.triage.features import HEAD_BYTES, SHAPE, SURFACE, TAIL_BYTES, read_request, read_text
from renga.routing.triage.history import History


def named(text: str) -> dict[str, float]:
    return dict(zip(SURFACE, read_text(text).dense, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_every_text_can_be_read(text: str) -> None:
    features = read_text(text)
    assert features.dense.shape == (len(SURFACE),)
    assert np.isfinite(features.dense).all()
    assert (features.buckets >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=1, max_size=30))
def test_the_pass_over_bytes_agrees_with_a_loop_over_words(words: list[str]) -> None:
    """The slow oracle: equal words share a bucket wherever they stand, and every word and pair has one."""
    features = read_text(" ".join(words))
    count = len(words)
    assert len(features.buckets) == 2 * count - 1
    bucket_by_word: dict[str, int] = {}
    for word, bucket in zip(words, features.buckets[:count].tolist(), strict=True):
        assert bucket_by_word.setdefault(word, bucket) == bucket
    bucket_by_pair: dict[tuple[str, str], int] = {}
    for pair, bucket in zip(itertools.pairwise(words), features.buckets[count:].tolist(), strict=True):
        assert bucket_by_pair.setdefault(pair, bucket) == bucket


def test_words_spread_over_the_buckets() -> None:
    letters = "bcdfghklmnprstvwz"
    words = ["".join(letters[n // 17**place % 17] for place in range(3)) for n in range(900)]
    distinct = len(set(read_text(" ".join(words)).buckets[: len(words)].tolist()))
    assert distinct > 0.95 * len(words)


def test_buckets_do_not_change_between_versions() -> None:
    assert read_text("Find the degree").buckets.tolist() == BUCKETS


BUCKETS = [5230, 4078, 10371, 4355, 10965]


def test_case_and_digits_are_folded() -> None:
    assert read_text("Room 12").buckets.tolist() == read_text("room 98").buckets.tolist()


def test_the_surface_is_counted() -> None:
    surface = named("Is 3 + 4 = 7?\nYES, (it) is.")
    assert surface["words"] == pytest.approx(np.log1p(7))
    assert surface["numbers"] == pytest.approx(np.log1p(3))
    assert surface["operators"] == pytest.approx(np.log1p(2))
    assert surface["lines"] == pytest.approx(np.log1p(1))
    assert named("")["words"] == 0.0


def test_a_long_text_costs_no_more_than_its_head_and_tail() -> None:
    text = "word " * 100_000
    features = read_text(text)
    assert len(features.buckets) <= 2 * (HEAD_BYTES + TAIL_BYTES) / 5 + 2
    assert np.exp(features.dense[SURFACE.index("bytes")]) == pytest.approx(len(text) + 1)


def test_the_shape_of_a_request() -> None:
    request = ask_for_json("Age?", b"{}")
    full = MessageRequest(
        model="auto",
        messages=(Turn("user", "Hi"), Turn("assistant", "Hello"), *request.messages),
        max_tokens=256,
        system="Be brief",
        tools=(WEATHER,),
        output_config=request.output_config,
    )
    dense = read_request(full, History(last_tier_rank=2, escalations=1)).dense
    shape = dict(zip(SHAPE, dense[len(SURFACE) :], strict=True))
    assert (shape["schema"], shape["last_tier"], shape["images"]) == (1.0, 2.0, 0.0)
    assert shape["turns"] == pytest.approx(np.log1p(3))
    assert shape["system_bytes"] == pytest.approx(np.log1p(8))
    assert read_request(full).buckets.tolist() == read_text("Age?").buckets.tolist()


def test_a_request_without_words_is_read() -> None:
    assert read_request(ask("")).buckets.tolist() == []
    assert not re.search("nan", str(read_request(ask("")).dense))
