from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import aclosing

import msgspec
import pytest
import uvloop
from tests.models.engine.conftest import Running, collect

from renga.config import EngineSettings
from renga.errors import ApiError, ConfigError, EngineDied, InvalidRequest, Overloaded
from renga.models.engine.child_process import spawn
from renga.models.engine.client import EngineClient
from renga.models.engine.ipc import BACKGROUND, EngineConfig, GenerationRequest
from renga.models.engine.loading.model_loader import Model

PROMPT = list(range(10, 30))


def endless(**settings: object) -> GenerationRequest:
    """As many tokens as the model's context holds, and no way to stop earlier."""
    return msgspec.structs.replace(GenerationRequest(PROMPT, 4000, grammar="root ::= [a-z]*  [A-Z]{3000}"), **settings)


async def test_many_at_once_answer_as_if_alone(client: EngineClient) -> None:
    generations = [GenerationRequest([*PROMPT, 30 + index], 30, seed=index, key_id=str(index)) for index in range(8)]
    together = await asyncio.gather(*(collect(client, generation) for generation in generations))
    alone = [await collect(client, generation) for generation in generations]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]


async def test_seed_decides_the_answer_and_none_is_fresh(client: EngineClient) -> None:
    first, second = [await collect(client, GenerationRequest(PROMPT, 20, seed=7)) for _ in range(2)]
    assert first == second
    fresh, other = [await collect(client, GenerationRequest(PROMPT, 20)) for _ in range(2)]
    assert fresh.token_ids != other.token_ids


async def test_greedy_is_the_same_every_time(client: EngineClient) -> None:
    first, second = [await collect(client, GenerationRequest(PROMPT, 10, temperature=0)) for _ in range(2)]
    assert first == second


@pytest.mark.parametrize("penalty", [{"frequency_penalty": 2.0}, {"repetition_penalty": 2.0}])
async def test_penalties_break_loops(client: EngineClient, penalty: dict[str, float]) -> None:
    greedy = GenerationRequest(PROMPT, 60, temperature=0, grammar="root ::= [a-z]{60}")
    looping = await collect(client, greedy)
    varied = await collect(client, msgspec.structs.replace(greedy, **penalty))
    assert len(set(varied.token_ids)) > len(set(looping.token_ids))


async def test_every_token_has_its_log_probability(client: EngineClient) -> None:
    answer = await collect(client, GenerationRequest(PROMPT, 20))
    assert len(answer.logprobs) == len(answer.token_ids)
    assert all(-30 < logprob < 0 for logprob in answer.logprobs)


async def test_length_and_stop_are_told_apart(client: EngineClient, model: Model) -> None:
    cut = await collect(client, GenerationRequest(PROMPT, 5, grammar="root ::= [a-z]{40}"))
    assert cut.finish == "length"
    assert len(cut.token_ids) == 5
    ended = await collect(client, GenerationRequest(PROMPT, 50, grammar='root ::= "yes"'))
    assert ended.finish == "stop"
    assert model.vocabulary.decode(ended.token_ids) == "yes"


async def test_a_request_may_name_its_own_stop_tokens(client: EngineClient, model: Model) -> None:
    (comma,) = model.vocabulary.encode(",", parse_special=False)
    generation = GenerationRequest(PROMPT, 50, grammar='root ::= "a,b"', stop_token_ids=[comma])
    ended = await collect(client, generation)
    assert (model.vocabulary.decode(ended.token_ids), ended.finish) == ("a", "stop")


async def test_leaving_frees_the_slot_at_once(model: Model) -> None:
    async with Running(model, max_running=1) as client:
        async with aclosing(client.generate(endless())) as left:
            await anext(left)
        began_s = time.monotonic()
        await collect(client, GenerationRequest(PROMPT, 1))
        assert time.monotonic() - began_s < 2  # 0.2 s on a machine at rest; the answer would have gone on for longer


async def test_cancelling_the_task_cancels_the_request(model: Model) -> None:
    async with Running(model, max_running=1) as client:
        await collect(client, GenerationRequest(PROMPT, 1))
        task = asyncio.create_task(collect(client, endless()))
        waiting = asyncio.create_task(collect(client, GenerationRequest(PROMPT, 1, temperature=0)))
        while client.stats().running == 0:
            await asyncio.sleep(0)
        task.cancel()
        assert (await waiting).finish == "length"
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_killed_process_fails_its_requests_and_comes_back(model: Model) -> None:
    async with Running(model) as client:
        await check_killing(client)


async def check_killing(client: EngineClient) -> None:
    async with aclosing(client.generate(endless())) as doomed:
        await anext(doomed)
        assert client.process_id
        os.kill(client.process_id, signal.SIGKILL)
        began_s = time.monotonic()
        with pytest.raises(EngineDied) as caught:
            async for _ in doomed:
                pass
    assert caught.value.retryable
    assert (await collect(client, GenerationRequest(PROMPT, 3, temperature=0))).finish == "length"
    assert time.monotonic() - began_s < 25


async def test_a_full_line_refuses_with_a_time_to_come_back(model: Model) -> None:
    async with Running(model, max_running=1, max_waiting=1) as client:
        taken = [asyncio.create_task(collect(client, endless())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await collect(client, GenerationRequest(PROMPT, 1))
        assert (caught.value.retry_after_s or 0) >= 1
        for task in taken:
            task.cancel()
        await asyncio.gather(*taken, return_exceptions=True)
        assert (await collect(client, GenerationRequest(PROMPT, 1, temperature=0))).finish == "length"


async def test_owners_take_turns(model: Model) -> None:
    async with Running(model, max_running=1) as client:
        order: list[str] = []

        async def ask(key_id: str) -> None:
            await collect(client, GenerationRequest(PROMPT, 2, key_id=key_id))
            order.append(key_id)

        await asyncio.gather(*(ask("greedy") for _ in range(8)), ask("modest"))
    assert order.index("modest") <= 2


async def test_lower_priority_numbers_go_first(model: Model) -> None:
    async with Running(model, max_running=1) as client:
        order: list[int] = []

        async def ask(priority: int) -> None:
            await collect(client, GenerationRequest(PROMPT, 2, priority=priority))
            order.append(priority)

        await asyncio.gather(*(ask(1) for _ in range(6)), ask(0))
    assert order.index(0) <= 1


async def test_a_background_answer_that_made_room_is_the_one_it_would_have_been(model: Model) -> None:
    """Greedy, so that it can be told; live requests interrupt it again and again."""
    wanted = GenerationRequest(PROMPT, 120, temperature=0, priority=BACKGROUND)
    async with Running(model, max_running=2, max_background=0) as client:
        alone = await collect(client, wanted)
        interrupted = asyncio.create_task(collect(client, wanted))
        for seed in range(4):
            answer = await collect(client, GenerationRequest([*PROMPT, 40 + seed], 3, seed=seed))
            assert len(answer.token_ids) <= 3
            assert not interrupted.done()
        assert (await interrupted).token_ids == alone.token_ids


@pytest.mark.parametrize("grammar", ['root ::= "a', "root ::= nothing", 'rot ::= "a"', ""])
async def test_a_bad_grammar_fails_alone(client: EngineClient, grammar: str) -> None:
    neighbour = asyncio.create_task(collect(client, GenerationRequest(PROMPT, 200, seed=1)))
    with pytest.raises(InvalidRequest):
        await collect(client, GenerationRequest(PROMPT, 5, grammar=grammar))
    assert (await neighbour).finish is not None


@pytest.mark.parametrize(
    "generation",
    [
        GenerationRequest([], 5),
        GenerationRequest([10**6], 5),
        GenerationRequest([-1], 5),
        GenerationRequest([10] * 5000, 5),
        GenerationRequest(PROMPT, 0),
        GenerationRequest(PROMPT, 5, top_p=7.0),
    ],
)
async def test_a_bad_request_fails_alone(client: EngineClient, generation: GenerationRequest) -> None:
    with pytest.raises(InvalidRequest):
        await collect(client, generation)
    assert (await collect(client, GenerationRequest(PROMPT, 3, top_p=0.0, top_k=5, seed=1))).finish == "length"


async def test_the_answer_ends_where_the_context_does(model: Model) -> None:
    async with Running(model, context_tokens=64) as client:
        answer = await collect(client, GenerationRequest(PROMPT, 1000, grammar="root ::= [a-z]{3000}"))
    assert len(answer.token_ids) == 64 - len(PROMPT)


async def test_more_than_the_cache_holds_is_refused(model: Model) -> None:
    async with Running(model, cache_blocks=4) as client:
        with pytest.raises(InvalidRequest, match="cache"):
            await collect(client, GenerationRequest(PROMPT * 20, 5))


async def test_a_prefix_met_again_starts_sooner(model: Model) -> None:
    async with Running(model, max_batched_tokens=64) as client:
        await collect(client, GenerationRequest(PROMPT, 1))
        times_s: list[float] = []
        for _ in range(4):
            began_s = time.monotonic()
            await collect(client, GenerationRequest([10 + index * index % 97 for index in range(2500)], 1))
            times_s.append(time.monotonic() - began_s)
    assert min(times_s[1:]) < times_s[0] / 2


async def test_load_is_reported(client: EngineClient) -> None:
    async with aclosing(client.generate(endless())) as stream:
        await anext(stream)
        assert client.stats().running == 1
        assert client.stats().cache_bytes > 0
    await collect(client, GenerationRequest(PROMPT, 1))
    assert client.ready


async def test_a_model_that_cannot_be_loaded_is_said_so(model: Model) -> None:
    client = EngineClient(msgspec.structs.replace(model.engine_config(), model_folder="/nowhere"))
    await client.start()
    with pytest.raises(ConfigError, match="cannot load"):
        await client.wait_ready()
    with pytest.raises(ApiError, match="cannot load"):
        await collect(client, GenerationRequest(PROMPT, 1))
    await client.stop()


async def test_stopping_ends_what_runs_and_what_comes(model: Model) -> None:
    async with Running(model) as client, aclosing(client.generate(endless())) as stream:
        await anext(stream)
        await client.stop()
        with pytest.raises(EngineDied):
            async for _ in stream:
                pass
    with pytest.raises(EngineDied):
        await collect(client, GenerationRequest(PROMPT, 1))


def test_runs_on_uvloop(model: Model) -> None:
    async def scenario() -> None:
        async with Running(model) as client:
            assert (await collect(client, GenerationRequest(PROMPT, 3, temperature=0))).finish == "length"

    uvloop.run(scenario())


ORPHAN = """
import asyncio, sys
import msgspec
from renga.models.engine.child_process import spawn
from renga.models.engine.client import EngineClient
from renga.models.engine.ipc import EngineConfig

async def main():
    client = EngineClient(msgspec.json.decode(sys.argv[1], type=EngineConfig))
    await client.start()
    await client.wait_ready()
    print(client.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_no_orphan_outlives_a_killed_server(model: Model) -> None:
    config: EngineConfig = model.engine_config(EngineSettings(cache_bytes=1 << 24))
    server = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, msgspec.json.encode(config).decode()], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    with server.stdout:
        engine = os.pidfd_open(int(server.stdout.readline()))
    try:
        server.kill()
        server.wait()
        ended, _, _ = select.select([engine], [], [], 30)
        assert ended
    finally:
        os.close(engine)


async def test_a_terminals_ctrl_c_does_not_reach_a_process_that_has_just_begun(model: Model) -> None:
    spawned = spawn(model.engine_config())
    os.kill(spawned.process.pid, signal.SIGINT)
    client = EngineClient(model.engine_config(), spawned)
    await client.start()
    try:
        await client.wait_ready()
        assert client.process_id == spawned.process.pid
    finally:
        await client.stop()
