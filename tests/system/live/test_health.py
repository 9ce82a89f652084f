"""Targets on a running server: left alone when they fail, tried again, never given more than they may."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from renga.testing.servers.replayed_upstream import overloaded
from renga.testing.servers.scripted_upstream import Reply, json_reply

ANSWER = (
    b'{"type":"message","id":"msg_1","role":"assistant","model":"small","content":[{"type":"text","text":"42"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":1}}'
)


async def test_a_target_that_fails_is_left_alone_and_comes_back(live) -> None:
    failing = True

    def say(model: str, prompt: str) -> str | Reply:
        return overloaded() if failing and model == "small" else "The answer is 42."

    async with live(say, "[health]\nfailures_to_cool = 3\ncool_down_s = 60.0\n") as server:
        for number in range(5):
            answer = await server.ask(f"question {number}")
            assert (answer.status, answer.headers["renga-target"]) == (200, "up/large")
        assert [model for model, _ in server.upstream.asked].count("small") == 3
        assert (await server.send("GET", "/ready")).json()["targets"] == {"up/small": "cooling"}
        alone = await server.ask("whom else?", model="haiku")
        assert alone.status == 529, "for want of another it was tried"
        failing = False
        assert (await server.ask("and now?", model="haiku")).status == 200
        assert "targets" not in (await server.send("GET", "/ready")).json()
        with server.open_database() as database:
            await server.until(lambda: len(database.ledger.read_rows()) == 7)
            rows = database.ledger.read_rows()
        assert [each.error_type for each in rows[4].attempts if each.target == "up/small"] == ["skipped:cooling"]
        metrics = (await server.send("GET", "/metrics")).body.decode()
        assert 'renga_target_cool_downs_total{target="up/small"} 1.0' in metrics


async def test_a_target_gets_no_more_than_it_may(live) -> None:
    gate = asyncio.Event()

    def say(model: str, prompt: str) -> str | Reply:
        return replace(json_reply(ANSWER), head_after=gate) if prompt == "slow" else "The answer is 42."

    async with live(say, '[targets."up/small"]\nconcurrent_requests = 1\n') as server:
        slow = asyncio.create_task(server.ask("slow", model="haiku"))
        await server.upstream.received(1)
        refused = await server.ask("quick", model="haiku")
        assert (refused.status, refused.json()["error"]["type"]) == (529, "overloaded_error")
        assert (await server.send("GET", "/ready")).json()["targets"] == {"up/small": "busy"}
        elsewhere = await server.ask("quick")
        assert (elsewhere.status, elsewhere.headers["renga-target"]) == (200, "up/large")
        gate.set()
        assert (await slow).status == 200
        assert (await server.ask("quick", model="haiku")).status == 200
