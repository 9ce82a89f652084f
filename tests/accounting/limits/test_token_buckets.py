"""Buckets: never more than was promised, and the wait that is told is exact."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from renga.accounting.limits.token_buckets import MINUTE_NS, SECOND_NS, BucketReading, LimitState, TokenBucket

STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "settle", "pass"]), st.integers(1, 400), st.integers(0, 90 * SECOND_NS)),
    max_size=60,
)


class Oracle:
    """The same bucket, in fractions and in so many words."""

    def __init__(self, limit: int) -> None:
        self.limit, self.level, self.at_ns = limit, Fraction(limit), 0

    def pass_to(self, now_ns: int) -> None:
        self.level = min(Fraction(self.limit), self.level + Fraction((now_ns - self.at_ns) * self.limit, MINUTE_NS))
        self.at_ns = now_ns

    def change(self, amount: int) -> None:
        self.level = min(Fraction(self.limit), self.level - amount)


@settings(max_examples=150, deadline=None)
@given(limit=st.integers(1, 300), steps=STEPS, may_exceed=st.booleans())
def test_no_window_lets_in_more_than_the_limit_and_a_burst(
    limit: int, steps: list[tuple[str, int, int]], may_exceed: bool
) -> None:
    """Takes less what is given back, over every pair of moments; with debts the bucket follows the oracle."""
    now_ns, bucket, oracle = 0, TokenBucket(limit, 0), Oracle(limit)
    running: list[int] = []
    history: list[tuple[int, int]] = []

    def change(amount: int) -> None:
        oracle.pass_to(now_ns)
        oracle.change(amount)
        history.append((now_ns, amount))

    for kind, amount, delay_ns in steps:
        if kind == "pass":
            now_ns += delay_ns
        elif kind == "take":
            wanted = bucket.fit(amount)
            wait_ns = bucket.wait_ns(wanted, now_ns)
            if wait_ns:
                assert bucket.wait_ns(wanted, now_ns + wait_ns - 1) == 1
                now_ns += wait_ns
            assert bucket.wait_ns(wanted, now_ns) == 0
            bucket.take(wanted)
            change(wanted)
            running.append(wanted)
        elif running:
            taken = running.pop(0)
            used = amount if may_exceed else min(amount, taken)
            bucket.settle(used - taken, now_ns)
            change(used - taken)
        oracle.pass_to(now_ns)
        reading = bucket.read(now_ns, now_ns // 1000)
        assert reading.remaining == max(0, oracle.level // 1)
        assert reading.remaining <= limit
        assert reading.full_s >= now_ns // SECOND_NS
    if not may_exceed:
        for first in range(len(history)):
            inside = 0
            for at_ns, amount in history[first:]:
                inside += amount
                assert inside * MINUTE_NS <= limit * (MINUTE_NS + at_ns - history[first][0])


def test_a_request_larger_than_the_bucket_waits_until_it_is_full() -> None:
    bucket = TokenBucket(60, 0)
    assert bucket.fit(1000) == 60
    bucket.take(1)
    assert bucket.wait_ns(bucket.fit(1000), 0) == SECOND_NS
    # What it was taken for was 999 too little: the debt is paid before the next.
    bucket.settle(999, SECOND_NS)
    assert bucket.read(SECOND_NS, 0).remaining == 0
    assert bucket.wait_ns(1, SECOND_NS) == (999 - 60 + 1) * SECOND_NS


def test_another_size_keeps_what_was_taken() -> None:
    bucket = TokenBucket(100, 0)
    bucket.take(30)
    assert bucket.resize(50, 0).read(0, 0).remaining == 20
    assert bucket.resize(20, 0).read(0, 0).remaining == 0
    assert bucket.resize(1000, 0).read(0, 0).remaining == 970


def test_tokens_are_input_and_output_together() -> None:
    entering, leaving = BucketReading(100, 10, 7), BucketReading(20, 5, 9)
    assert LimitState(None, entering, leaving).tokens == BucketReading(120, 15, 9)
    assert LimitState(None, entering).tokens == entering
    assert LimitState(None, None, leaving).tokens == leaving
    assert LimitState().tokens is None


def test_a_new_bucket_is_full_for_the_request_that_made_it_needed() -> None:
    """Its moment was read before: a key's first request may ask for the whole minute's tokens."""
    bucket = TokenBucket(3_000, now_ns=10)
    assert bucket.wait_ns(3_000, now_ns=5) == 0
    assert bucket.read(5, 0).remaining == 3_000
