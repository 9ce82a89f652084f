from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renga.models.engine.scheduling.fair_queue import FairQueue


def drain(line: FairQueue) -> list[int]:
    return [line.take() for _ in range(len(line))]


def test_owners_take_turns_and_keep_their_own_order() -> None:
    line = FairQueue()
    for request_id, key_id in enumerate("aaabbc"):
        line.add(request_id, key_id=key_id, priority=0)
    assert drain(line) == [0, 3, 5, 1, 4, 2]


def test_lower_priority_numbers_go_first() -> None:
    line = FairQueue()
    for request_id, priority in enumerate((2, 0, 1, 0)):
        line.add(request_id, key_id="a", priority=priority)
    assert drain(line) == [1, 3, 2, 0]


def test_nobody_waits() -> None:
    with pytest.raises(IndexError):
        FairQueue().take()


_people = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=20)


@given(people=_people, leaving=st.sets(st.integers(0, 19)))
def test_everyone_who_stays_is_taken_once(people: list[tuple[str, int]], leaving: set[int]) -> None:
    line = FairQueue()
    for request_id, (key_id, priority) in enumerate(people):
        line.add(request_id, key_id=key_id, priority=priority)
    gone = {request_id for request_id in leaving if line.remove(request_id)}
    assert gone == {request_id for request_id in leaving if request_id < len(people)}
    taken = drain(line)
    assert sorted(taken) == sorted(set(range(len(people))) - gone)
    assert [people[request_id][1] for request_id in taken] == sorted(people[request_id][1] for request_id in taken)


@given(keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
def test_nobody_gets_two_turns_before_another_gets_one(keys: list[str]) -> None:
    line = FairQueue()
    for request_id, key_id in enumerate(keys):
        line.add(request_id, key_id=key_id, priority=0)
    taken = [keys[request_id] for request_id in drain(line)]
    assert len(set(taken[: len(set(keys))])) == len(set(keys))
