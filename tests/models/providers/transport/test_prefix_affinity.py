"""Which replica a prompt goes to, without any server."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from renga.models.providers.transport.prefix_affinity import Affinity, Fingerprint, fingerprint_prompt
from renga.protocols.messages.decode import decode_request

NAMES = tuple(f"http://replica-{number}" for number in range(4))
IDLE = (0, 0, 0, 0)


def fingerprint(*turns: str, system: str = "", **fields: Any) -> Fingerprint:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]
    body = {"model": "haiku", "max_tokens": 5, "system": system, "messages": messages, **fields}
    return fingerprint_prompt(decode_request(msgspec.json.encode(body), "2023-06-01"))


def test_a_fingerprint_grows_at_its_end():
    first = fingerprint("a" * 3000)
    later = fingerprint("a" * 3000, "b" * 3000, "c" * 3000)
    assert len(first) >= 2
    assert later[: len(first) - 1] == first[: len(first) - 1]
    assert len(later) > len(first)
    assert fingerprint("short") == ()


def test_a_billing_line_moves_nothing():
    line = "x-anthropic-billing-header: cch={};\n"
    one, other = (fingerprint("a" * 3000, system=line.format(n) + "s" * 3000) for n in (1, 2))
    assert one == other == fingerprint("a" * 3000, system="s" * 3000)


def test_gateways_place_the_unknown_alike():
    for chunk in range(50):
        assert Affinity(NAMES).rank((chunk,), IDLE) == Affinity(NAMES).rank((chunk,), IDLE)


def test_one_replica_more_moves_few():
    before = [Affinity(NAMES).rank((chunk,), IDLE)[0] for chunk in range(400)]
    after = [Affinity((*NAMES, "http://replica-4")).rank((chunk,), (*IDLE, 0))[0] for chunk in range(400)]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {4}
    assert 40 < len(moved) < 130  # a fifth, give or take


def test_a_conversation_stays_and_a_longer_match_wins():
    affinity = Affinity(NAMES)
    home = affinity.rank((1, 2), IDLE)[0]
    affinity.record((1, 2), home)
    away = (home + 1) % 4
    affinity.record((1, 9), away)
    assert affinity.rank((1, 2, 3), IDLE)[0] == home
    assert affinity.rank((1, 9, 10), IDLE)[0] == away


def test_a_hot_prefix_overflows_and_is_held_twice_from_then_on():
    affinity = Affinity(NAMES)
    works = [0, 0, 0, 0]
    used: list[int] = []
    for conversation in range(100, 140):
        prompt = (7, 8, 9, conversation, 2 * conversation)
        index = affinity.rank(prompt, works)[0]
        works[index] += len(prompt) - affinity.count_held(prompt)[index]
        affinity.record(prompt, index)
        used.append(index)
    assert len(set(used[:5])) == 1  # three chunks, four times, are worth a queue of twelve
    assert set(used) == {0, 1, 2, 3}
    assert max(works) - min(works) <= 12 + 5


def test_a_dead_replica_holds_nothing():
    affinity = Affinity(NAMES)
    home = affinity.rank((1, 2), IDLE)[0]
    away = (home + 1) % 4
    affinity.record((1, 2), away)
    affinity.forget(away)
    assert affinity.rank((1, 2), IDLE)[0] == home


def test_without_a_fingerprint_the_idlest_is_first():
    affinity = Affinity(NAMES)
    assert affinity.rank((), (3, 1, 2, 0))[:2] == [3, 1]
    assert {affinity.rank((), IDLE)[0] for _ in range(4)} == {0, 1, 2, 3}


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 3)), max_size=30),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.lists(st.integers(0, 40), min_size=4, max_size=4),
)
def test_every_replica_is_ranked_once_by_what_it_would_have_to_do(
    records: list[tuple[list[int], int]], asked: list[int], works: list[int]
) -> None:
    affinity = Affinity(NAMES)
    sent: list[set[int]] = [set() for _ in NAMES]
    for chunks, index in records:
        affinity.record(tuple(chunks), index)
        sent[index] |= set(chunks)
    ranked = affinity.rank(tuple(asked), works)
    assert sorted(ranked) == [0, 1, 2, 3]
    held = [max((at + 1 for at, chunk in enumerate(asked) if chunk in sent[index]), default=0) for index in range(4)]
    assert affinity.count_held(tuple(asked)) == held
    costs = [works[index] + 4 * (len(asked) - held[index]) for index in ranked]
    assert costs == sorted(costs)
