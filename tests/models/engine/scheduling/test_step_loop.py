"""Which tokens a step reads, and what comes out: over a pipeline that notes what it does, with a clock that is told.

Its answers are a function of all tokens before, so that one put together from pieces is known to be the right one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.models.engine.ipc import (
    BACKGROUND,
    LIVE,
    CancelCommand,
    EngineConfig,
    FailedReport,
    GenerationRequest,
    Report,
    SubmitCommand,
    TokensReport,
)
from renga.models.engine.pipeline import CacheUse, Extra, StepOutput
from renga.models.engine.scheduling.admission import QUIET_NS, WATCH_NS
from renga.models.engine.scheduling.step_loop import YIELD_STEPS, Engine

BLOCK = 32
PIECE = 64
STEP = 512
VOCABULARY = 10_000


def continue_text(token_ids: list[int]) -> int:
    return zlib.crc32(repr(token_ids).encode()) % VOCABULARY


def answer(prompt: list[int], count: int) -> list[int]:
    """What the pipeline says to a prompt."""
    text = list(prompt)
    for _ in range(count):
        text.append(continue_text(text))
    return text[len(prompt) :]


class Strand:
    """A prompt in the hands of the pipeline."""

    def __init__(self, generation: GenerationRequest, known: int) -> None:
        self.text = list(generation.prompt_token_ids)
        self.rest = generation.max_tokens
        self.read_tokens = known
        self.is_cancelled = False
        self._unfetched: list[int] = []

    @property
    def is_over(self) -> bool:
        return self.is_cancelled or not self.rest

    def speak(self) -> None:
        self._unfetched.append(continue_text(self.text))
        self.text += self._unfetched[-1:]
        self.rest -= 1

    def read(self) -> StepOutput:
        fetched, self._unfetched = self._unfetched, []
        return StepOutput(fetched, [0.0] * len(fetched), "length" if fetched and not self.rest else None)

    def is_refused(self) -> bool:
        return len(self.text) > FakePipeline.cache_tokens

    def cancel(self) -> None:
        self.is_cancelled = True


class FakePipeline:
    """A prefix cache of whole blocks, and steps of at most `STEP` tokens."""

    cache_tokens = 100_000

    accepts: frozenset[Extra] = frozenset()

    def __init__(self) -> None:
        self._strands: dict[int, Strand] = {}
        self._blocks: set[tuple[int, ...]] = set()
        self.steps: list[dict[int, int]] = []
        """How many tokens of each prompt each step read."""
        self.fault = ""
        """What the next steps raise while anything is in them."""
        self.pass_time: Callable[[], None] = lambda: None
        """Called in every step that has something to do."""

    def add(self, request_id: int, generation: GenerationRequest, stops: frozenset[int]) -> Strand:
        assert not stops
        prompt = generation.prompt_token_ids
        known = 0
        while known < len(prompt) and tuple(prompt[: known + BLOCK]) in self._blocks:
            known += BLOCK
        strand = Strand(generation, min(known, len(prompt) - 1))
        assert request_id not in self._strands or self._strands[request_id].is_over
        self._strands[request_id] = strand
        return strand

    def step(self) -> None:
        self._strands = {each: strand for each, strand in self._strands.items() if not strand.is_over}
        if self.fault and self._strands:
            raise RuntimeError(self.fault)
        if self._strands:
            self.pass_time()
        noted: dict[int, int] = {}
        room = STEP
        for request_id, strand in self._strands.items():
            if strand.is_refused():
                continue
            unread = len(strand.text) - strand.read_tokens
            count = min(room, unread)
            room -= count
            strand.read_tokens += count
            if unread > 1:
                noted[request_id] = count
            for end in range(BLOCK, strand.read_tokens + 1, BLOCK):
                self._blocks.add(tuple(strand.text[:end]))
            if count == unread:
                strand.speak()
        self.steps.append(noted)

    def measure_cache(self) -> CacheUse:
        return CacheUse(0.0, 0)


class Told:
    """An engine over that pipeline, its clock, and what it reported."""

    def __init__(self, max_running: int = 4, max_background: int = 1) -> None:
        self.pipeline = FakePipeline()
        self.now_ns = 10 * WATCH_NS
        config = EngineConfig(
            model_folder="",
            vocabulary_size=VOCABULARY,
            max_waiting=256,
            context_tokens=1 << 20,
            max_running=max_running,
            max_background=max_background,
            max_batched_tokens=STEP,
            prefill_chunk_tokens=PIECE,
        )
        self.engine = Engine(self.pipeline, config, lambda: self.now_ns)
        self.tokens: dict[int, list[int]] = {}
        self.ends: dict[int, list[str]] = {}

    def submit(self, request_id: int, prompt: list[int], *, priority: int, max_tokens: int = 3) -> None:
        generation = GenerationRequest(prompt, max_tokens, priority=priority)
        self._note(self.engine.handle(SubmitCommand(request_id, generation)))

    def step(self) -> dict[int, int]:
        """One step. Returns what it read of which prompt."""
        self._note(self.engine.step())
        return self.pipeline.steps[-1]

    def run(self) -> list[dict[int, int]]:
        """All steps until everything has ended; where it rests, time goes on."""
        begin = len(self.pipeline.steps)
        while self.engine.busy:
            self.now_ns += round(1e9 * (self.engine.yield_interval_s or 0))
            self.step()
        return self.pipeline.steps[begin:]

    def be_live(self) -> None:
        """A live request comes and goes."""
        self.submit(999, [7], priority=LIVE, max_tokens=1)
        self.run()

    def _note(self, reports: list[Report]) -> None:
        for report in reports:
            match report:
                case TokensReport(request_id, batch, _):
                    self.tokens.setdefault(request_id, []).extend(batch.token_ids)
                    if batch.finish:
                        self.ends.setdefault(request_id, []).append(batch.finish)
                case FailedReport(request_id, reason, _):
                    self.ends.setdefault(request_id, []).append(reason)
                case _:
                    pass


def prompt_of(length: int, start: int = 0) -> list[int]:
    return [(start + index) % VOCABULARY for index in range(length)]


def reads(steps: list[dict[int, int]], request_id: int) -> list[int]:
    """What each step read of a prompt, steps that read nothing of it left out."""
    return [step[request_id] for step in steps if request_id in step]


def test_without_live_requests_a_prompt_is_read_whole() -> None:
    told = Told()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    assert reads(told.run(), 1) == [300]
    assert told.tokens[1] == answer(prompt_of(300), 3)


def test_while_live_requests_are_about_it_is_read_in_pieces() -> None:
    told = Told()
    told.be_live()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    assert reads(told.run(), 1) == [PIECE] * 4 + [300 - 4 * PIECE]
    assert told.tokens[1] == answer(prompt_of(300), 3)
    told.now_ns += WATCH_NS
    told.submit(2, prompt_of(300, start=5000), priority=BACKGROUND)
    assert reads(told.run(), 2) == [300]


def test_a_live_request_goes_before_the_next_piece() -> None:
    told = Told()
    told.be_live()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    assert told.step() == {1: PIECE}
    told.submit(2, prompt_of(100, start=5000), priority=LIVE)
    assert told.step() == {2: 100}, "nothing of the background beside a live prompt"
    assert reads(told.run(), 1) == [PIECE] * 3 + [300 - 4 * PIECE], "and nothing is read twice"
    assert told.tokens == {
        999: answer([7], 1),
        1: answer(prompt_of(300), 3),
        2: answer(prompt_of(100, start=5000), 3),
    }


def test_a_long_live_prompt_holds_the_pieces_back_until_its_first_token() -> None:
    told = Told()
    told.be_live()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    told.step()
    told.submit(2, prompt_of(STEP + 100, start=5000), priority=LIVE)
    assert [told.step(), told.step()] == [{2: STEP}, {2: 100}]
    assert told.step() == {1: PIECE}


def test_a_neighbour_s_beginning_is_not_walked_through_again() -> None:
    told = Told()
    told.be_live()
    told.submit(1, [*prompt_of(1000), 1], priority=BACKGROUND)
    told.submit(2, [*prompt_of(1000), 2], priority=BACKGROUND)
    steps = told.run()
    assert len(reads(steps, 1)) == 1 + 1000 // PIECE
    assert reads(steps, 2) == [1001 - 1000 // BLOCK * BLOCK]


def test_what_made_room_goes_on_where_it_was() -> None:
    told = Told(max_background=0)
    told.submit(1, prompt_of(300), priority=BACKGROUND, max_tokens=50)
    for _ in range(10):
        told.step()
    told.be_live()
    told.now_ns += QUIET_NS
    assert all(count <= BLOCK for count in reads(told.run(), 1))
    assert told.tokens[1] == answer(prompt_of(300), 50)


def test_a_prompt_in_the_middle_of_its_pieces_gives_up_the_only_slot() -> None:
    told = Told(max_running=1)
    told.be_live()
    told.now_ns += QUIET_NS
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    assert told.step() == {1: PIECE}
    told.submit(2, prompt_of(10, start=5000), priority=LIVE)
    assert told.step() == {2: 10}
    assert sum(reads(told.run(), 1)) == 300 - PIECE
    assert told.tokens[1] == answer(prompt_of(300), 3)


def test_where_nothing_may_run_the_engine_rests() -> None:
    told = Told(max_background=0)
    assert told.engine.yield_interval_s is None
    told.be_live()
    told.submit(1, prompt_of(10), priority=BACKGROUND)
    assert told.engine.yield_interval_s == QUIET_NS / 1e9
    told.now_ns += QUIET_NS
    assert told.engine.yield_interval_s == 0.0
    assert told.step() == {1: 10}


def test_the_background_rests_between_its_steps_while_live_requests_are_about() -> None:
    told = Told()
    told.be_live()

    def pass_time() -> None:
        told.now_ns += 1_000_000

    told.pipeline.pass_time = pass_time
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    assert told.step() == {1: PIECE}
    assert told.engine.yield_interval_s == YIELD_STEPS / 1000
    told.submit(2, prompt_of(100, start=5000), priority=LIVE)
    assert told.engine.yield_interval_s == 0, "nobody else rests"
    assert [told.step(), told.step(), told.step()] == [{2: 100}, {}, {1: PIECE}], "beside it, when the rest is over"
    told.now_ns += QUIET_NS
    told.step()
    assert told.engine.yield_interval_s == 0


def test_cancelled_in_the_middle_of_its_pieces() -> None:
    told = Told()
    told.be_live()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    told.submit(2, prompt_of(200, start=5000), priority=BACKGROUND)
    told.step()
    told.engine.handle(CancelCommand(1))
    assert reads(told.run(), 1) == []
    assert 1 not in told.tokens
    assert told.tokens[2] == answer(prompt_of(200, start=5000), 3)


def test_a_prompt_that_the_cache_cannot_hold_is_refused_piece_by_piece_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePipeline, "cache_tokens", 200)
    told = Told()
    told.be_live()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    told.submit(2, prompt_of(150, start=5000), priority=BACKGROUND)
    told.run()
    assert told.ends[1] == ["invalid"]
    assert told.tokens[2] == answer(prompt_of(150, start=5000), 3)


def test_a_piece_that_breaks_its_step_fails_alone() -> None:
    told = Told()
    told.be_live()
    told.submit(1, prompt_of(300), priority=BACKGROUND)
    told.pipeline.fault = "broken"
    told.step()
    told.pipeline.fault = ""
    assert told.ends[1] == ["internal"]
    told.submit(2, prompt_of(150), priority=BACKGROUND)
    told.run()
    assert told.tokens[2] == answer(prompt_of(150), 3)


Event = tuple[str, int]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["live", "background", "cancel", "wait", "nothing"]), st.integers(1, 700)),
    min_size=5,
    max_size=40,
)
"""What happens before a step, and how long a prompt it has."""


@settings(max_examples=100, deadline=None)
@given(events=EVENTS, max_running=st.integers(1, 4), max_background=st.integers(0, 2))
def test_whatever_comes_live_requests_go_first_and_all_end_once(
    events: list[Event], max_running: int, max_background: int
) -> None:
    told = Told(max_running, max_background)
    told.be_live()
    prompts: dict[int, list[int]] = {}
    live: set[int] = set()
    cancelled: set[int] = set()

    def step() -> None:
        waiting = {each for each in live if each not in told.tokens and each not in cancelled}
        for request_id, count in told.step().items():
            if request_id not in live:
                assert not waiting
                # one that made room reads what no whole block held of it once more
                assert not (live - cancelled - told.ends.keys()) or count <= PIECE + BLOCK

    for number, (event, value) in enumerate(events):
        if event in ("live", "background"):
            prompts[number] = prompt_of(value, start=97 * number)
            live |= {number} if event == "live" else set()
            told.submit(number, prompts[number], priority=LIVE if event == "live" else BACKGROUND)
        elif event == "cancel" and prompts:
            cancelled.add(max(prompts))
            told.engine.handle(CancelCommand(max(prompts)))
        elif event == "wait":
            told.now_ns += value * QUIET_NS // 300
        step()
    told.run()
    for number, prompt in prompts.items():
        if number not in cancelled:
            assert told.ends[number] == ["length"]
            assert told.tokens[number] == answer(prompt, 3)
