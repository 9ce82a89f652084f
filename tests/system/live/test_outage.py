"""An upstream that dies under load and comes back: every request has one row, and an answer or a clean error."""

from __future__ import annotations

import asyncio
from collections import Counter

from renga.testing.servers.replayed_upstream import ReplayedUpstream

REQUESTS = 60
QUICK_COOL_DOWN = """
[health]
cool_down_s = 0.01
cool_down_max_s = 0.01
"""


def say(model: str, prompt: str) -> str:
    return f"The answer is {len(prompt)}."


async def test_nothing_is_lost_while_an_upstream_is_away(live) -> None:
    done = 0
    moved = asyncio.Event()

    async with live(say, QUICK_COOL_DOWN) as server:
        room = asyncio.Semaphore(6)

        async def one(number: int):
            nonlocal done
            async with room:
                answer = await server.ask(f"question {number}", stream=number % 2 == 0)
            done += 1
            moved.set()
            return answer

        async def reach(count: int) -> None:
            while done < count:
                moved.clear()
                await moved.wait()

        asking = [asyncio.create_task(one(number)) for number in range(REQUESTS)]
        await reach(REQUESTS // 3)
        port = int(server.upstream.url.rpartition(":")[2])
        await server.upstream.close()
        await reach(2 * REQUESTS // 3)
        async with ReplayedUpstream(say, port):
            answers = await asyncio.gather(*asking)
            again = await server.ask("is it back?")
        assert again.status == 200
        with server.open_database() as database:
            await server.until(lambda: len(database.ledger.read_rows()) == REQUESTS + 1)
            rows = {row.request_id: row for row in database.ledger.read_rows()}
        assert (await server.send("GET", "/metrics")).body.count(b"renga_open_leases 0.0") == 1
    assert set(rows) == {answer.headers["request-id"] for answer in (*answers, again)}
    statuses = Counter(answer.status for answer in answers)
    assert statuses[200] >= REQUESTS // 3 and len(statuses) > 1
    for answer in answers:
        row = rows[answer.headers["request-id"]]
        if answer.status != 200:
            assert answer.json()["type"] == "error" and row.status == "failed"
        elif b"event: error" in answer.body:
            assert row.status == "partial"
        else:
            assert row.status == "succeeded"
            assert (answer.headers["renga-target"], answer.headers["renga-plan"]) == (row.target, row.why)
    assert all(state.standing == "working" for state in server.app.parts.health.describe())
