"""When a breakpoint is worth its price."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from renga.models.cache.automatic_breakpoints import BREAK_EVEN, READ_RATIO, WRITE_RATIO, AutomaticBreakpoints, pays
from renga.protocols.messages.decode import decode_request
from renga.testing.fake_clock import ToldClock

MODEL = "claude-haiku-5-5"
LONG = "All that is known of it. " * 400
CONTROL = {"type": "ephemeral"}


class Asker:
    def __init__(self) -> None:
        self.clock = ToldClock()
        self.breakpoints = AutomaticBreakpoints(self.clock)

    def ask(self, *turns: str, cache_owner: str = "key_a", **fields: Any) -> list[str]:
        """Where breakpoints are set for a conversation."""
        roles = ("user", "assistant")
        messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]
        body = {"model": "opus", "max_tokens": 5, "messages": messages, **fields}
        request = decode_request(msgspec.json.encode(body), "2023-06-01")
        return [block.path for block in self.breakpoints.choose(cache_owner, request, MODEL)]

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)


def test_break_even_is_where_the_dollars_say():
    def saved_ratio(chance: float) -> float:
        return 1 + chance - (WRITE_RATIO + chance * READ_RATIO)

    assert saved_ratio(BREAK_EVEN) == pytest.approx(0)
    assert pytest.approx(0.2778, abs=1e-4) == BREAK_EVEN
    assert pays(0.3)
    assert not pays(0.25)


def test_a_single_question_is_left_alone():
    asker = Asker()
    assert all(asker.ask(f"{number} {LONG}") == [] for number in range(20))


def test_a_conversation_is_marked_from_its_second_turn():
    asker = Asker()
    assert asker.ask(LONG) == []
    assert asker.ask(LONG, "Yes.", "Go on") == ["messages.2.content"]
    assert asker.ask(LONG, "Yes.", "Go on", "So.", "And?") == ["messages.4.content"]


def test_a_system_prompt_is_marked_once_it_came_back():
    asker = Asker()
    assert asker.ask("one", system=LONG) == []
    assert asker.ask("two", system=LONG) == ["system"]
    assert asker.ask("three", system=LONG) == ["system"]


def test_what_comes_back_too_late_is_not():
    asker = Asker()
    for number in range(6):
        assert asker.ask(str(number), system=LONG) == []
        asker.wait(301)


def test_tools_are_marked_where_the_system_prompt_changes():
    asker = Asker()
    tools = [{"name": "f", "description": LONG, "input_schema": {"type": "object"}}]
    billing = [f"x-anthropic-billing-header: cch={n};\n{LONG}" for n in range(2)]
    assert asker.ask("one", tools=tools, system=billing[0]) == []
    assert asker.ask("two", tools=tools, system=billing[1]) == ["tools.0"]


def test_what_is_too_short_is_not():
    asker = Asker()
    for number in range(3):
        assert asker.ask(str(number), system="Be brief.") == []


def test_a_client_that_speaks_of_caching_decides_alone():
    asker = Asker()
    marked = [{"type": "text", "text": "s", "cache_control": CONTROL}]
    for number in range(3):
        assert asker.ask(LONG, "Yes.", str(number), system=marked) == []
        assert asker.ask(LONG, "Yes.", str(number), cache_control=CONTROL) == []
        assert asker.ask(LONG, max_tokens=0) == []


def test_owners_share_nothing():
    asker = Asker()
    asker.ask("one", system=LONG)
    assert asker.ask("two", cache_owner="key_b", system=LONG) == []


def test_never_more_than_four():
    asker = Asker()
    tools = [{"name": "f", "description": LONG, "input_schema": {"type": "object"}}]
    turns = ["Hi"]
    for _ in range(8):
        assert len(asker.ask(*turns, tools=tools, system=LONG)) <= 3
        turns += ["Yes.", "Go on"]
    assert asker.ask(*turns, tools=tools, system=LONG) == ["tools.0", "system", "messages.16.content"]
