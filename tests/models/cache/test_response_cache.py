"""Stored answers: what is the same question, what qualifies, and for how long."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from renga.config import CacheSettings
from renga.models.cache.response_cache import ResponseCache, name_question
from renga.protocols.messages.blocks import TextBlock
from renga.protocols.messages.decode import decode_request
from renga.protocols.messages.events.event_types import Message, Usage
from renga.protocols.messages.inference_request import Caller, InferenceRequest
from renga.testing.fake_clock import ToldClock

BODY: dict[str, Any] = {"model": "haiku", "max_tokens": 50, "messages": [{"role": "user", "content": "Why?"}]}
ANSWER = Message("hokku", "msg_1", content=(TextBlock("So."),), stop_reason="end_turn", usage=Usage(3, output_tokens=2))


def question(owner: str = "key_a", version: str = "2023-06-01", **fields: Any) -> InferenceRequest:
    raw = msgspec.json.encode({**BODY, **fields})
    return InferenceRequest(
        decode_request(raw, "2023-06-01"), raw, Caller(owner), "req_1", "messages", 0, version=version
    )


def name(owner: str = "key_a", **fields: Any) -> bytes:
    named = name_question(question(owner, **fields))
    assert named is not None
    return named


def cache(clock: ToldClock | None = None, **settings: Any) -> ResponseCache:
    return ResponseCache(structs.replace(CacheSettings(), **settings), clock or ToldClock())


def test_delivery_and_billing_do_not_make_another_question():
    assert name(stream=True) == name() == name(metadata={"user_id": "u"}, service_tier="auto")
    assert name(cache_control={"type": "ephemeral"}) == name()
    line = "x-anthropic-billing-header: cch={};"
    assert name(system=f"{line.format(1)}\nBe kind.") == name(system=f"{line.format(2)}\nBe kind.")
    blocks = [[{"type": "text", "text": line.format(n)}, {"type": "text", "text": "Be kind."}] for n in (1, 2)]
    assert name(system=blocks[0]) == name(system=blocks[1])


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "opus"},
        {"max_tokens": 51},
        {"system": "Be kind."},
        {"messages": [{"role": "user", "content": "Why not?"}]},
        {"stop_sequences": ["."]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}, "input_examples": [{}]}]},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"effort": "low"}},
    ],
)
def test_whatever_changes_an_answer_makes_another_question(fields: dict[str, Any]):
    assert name(**fields) != name()


def test_owners_versions_and_betas_are_apart():
    names = {
        name(),
        name("key_b"),
        name_question(question(version="2026-10-21")),
        name_question(structs.replace(question(), betas=("new-2026-01-01",))),
        name_question(structs.replace(question(), forwarded_headers=(("anthropic-workspace-id", "w"),))),
    }
    assert len(names) == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.7},
        {"top_p": 0.9},
        {"top_k": 5},
        {"max_tokens": 0},
        {"tools": [{"type": "web_search_20260318", "name": "web_search"}]},
        {"mcp_servers": [{"type": "url", "name": "m", "url": "https://m.invalid"}]},
    ],
)
def test_what_depends_on_chance_or_the_moment_does_not_qualify(fields: dict[str, Any]):
    assert name_question(question(**fields)) is None


def test_an_answer_lives_for_its_time_and_longer_where_all_is_down():
    clock = ToldClock()
    answers = cache(clock, response_ttl_s=10.0, stale_if_error_s=20.0)
    assert answers.find(b"q") is None
    assert answers.keep(b"q", ANSWER, "local/hokku")
    found = answers.find(b"q")
    assert found is not None
    assert (found.message, found.freshness, found.target) == (ANSWER, "hit", "local/hokku")
    clock.advance(10.0)
    assert answers.find(b"q") is None
    stale = answers.find(b"q", stale=True)
    assert stale is not None
    assert stale.freshness == "stale"
    clock.advance(20.0)
    assert answers.find(b"q", stale=True) is None
    assert answers.size_bytes == 0


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "model_context_window_exceeded", None])
def test_only_answers_that_ended_well_are_kept(reason: str | None):
    assert not cache().keep(b"q", structs.replace(ANSWER, stop_reason=reason), "t")


def test_memory_is_bounded():
    answers = cache(response_bytes=20_000)
    for number in range(200):
        assert answers.keep(b"%d" % number, ANSWER, "t")
        assert answers.size_bytes <= 20_000
    assert answers.find(b"0") is None
    assert answers.find(b"199") is not None
    long = structs.replace(ANSWER, content=(TextBlock("x" * 5_000),))
    assert not answers.keep(b"long", long, "t")
    assert not cache(response_bytes=0).keep(b"q", ANSWER, "t")
