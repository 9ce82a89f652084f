"""One loop around continuous batching: who runs, who waits, what came of each step.

Owns: the pipeline's requests, from admission to their last token.
Must never know: text, sockets, OpenVINO.
Invariants: a bad request fails alone; while live requests are about, a step reads no more of background prompts than a
piece (`EngineConfig.piece_tokens`), and nothing of them while a live request waits for its first token. Read
`Engine.step` first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from renga.models.engine.ipc import (
    CancelCommand,
    Command,
    EngineConfig,
    EngineStats,
    FailedReport,
    GenerationRequest,
    Report,
    StatsReport,
    SubmitCommand,
    TokenBatch,
    TokensReport,
)
from renga.models.engine.pipeline import Continuation, Pipeline
from renga.models.engine.scheduling.admission import Admission, Waiter
from renga.models.engine.scheduling.chunked_prefill import ChunkedPrefill, count_common

REST_STEPS = 2.0
"""How long the background rests after each step of its own while live requests are about, in lengths of that step: a
live request then finds the processor idle two times in three (docs/log/batches.md)."""


class RunningRequest:
    """A request that the pipeline works on."""

    def __init__(self, continuation: Continuation, waiter: Waiter, stop_token_ids: frozenset[int]) -> None:
        self.continuation = continuation
        self.generation = waiter.generation
        self.stop_token_ids = stop_token_ids
        self._read_tokens = waiter.read_tokens
        self.token_ids: list[int] = []
        """What it got so far."""

    @property
    def is_suspect(self) -> bool:
        """Whether its grammar may be broken: GenAI compiles it inside `step`, for the first token."""
        return self.generation.grammar is not None and not self.token_ids

    @property
    def read_tokens(self) -> int:
        """How much of its `rest`'s prompt was read: all but the last token, once it has one."""
        if self.token_ids:
            return len(self.generation.prompt_token_ids) + len(self.token_ids) - 1
        return self._read_tokens

    def rest(self) -> GenerationRequest:
        """The request that goes on where this one is."""
        return replace(
            self.generation,
            prompt_token_ids=self.generation.prompt_token_ids + self.token_ids,
            max_tokens=self.generation.max_tokens - len(self.token_ids),
        )


class Engine:
    """The pipeline with a bounded number of running requests, before which the others wait their turn."""

    def __init__(
        self, pipeline: Pipeline, launch: EngineConfig, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._pipeline = pipeline
        self._launch = launch
        self._admission = Admission(launch.running_max, launch.background_max, clock_ns)
        self._running: dict[int, RunningRequest] = {}
        self._reading: ChunkedPrefill | None = None
        """The background request whose prompt is read in pieces; it is not among the running."""
        self._last_read: list[int] = []
        """The last prompt that was: its neighbours in a batch begin alike."""
        self._must_flush = False
        self._clock_ns = clock_ns
        self._rest_until_ns = clock_ns()
        """Until then nothing is done for the background alone."""
        self._told = EngineStats()

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return self._admission.waiting > 0 or self._has_work

    @property
    def rest_s(self) -> float | None:
        """How long nothing is to be done unless a command comes; None: until one comes."""
        if not self.busy:
            return None
        if self._must_flush or self._admission.has_live:
            return 0.0
        rest_ns = max(0, self._rest_until_ns - self._clock_ns())
        return (rest_ns if self._has_work else max(rest_ns, self._admission.rest_ns())) / 1e9

    @property
    def _has_work(self) -> bool:
        return bool(self._running) or self._reading is not None or self._must_flush

    def step(self) -> list[Report]:
        """Admit, run the pipeline once, and collect what it made."""
        self._make_room()
        reports = self._admit()
        is_background = not self._admission.has_live
        if self._may_read_on():
            is_background = True
            reports += self._read_on()
        started_ns = self._clock_ns()
        try:
            self._pipeline.step()
        except RuntimeError as error:
            return reports + self._survive(error) + self._measure()
        self._must_flush = False
        for request_id in list(self._running):
            reports += self._collect(request_id)
        if self._reading is not None and not self._reading.end_piece():
            reports.append(self._refuse_long(self._stop_reading().request_id))
        if is_background and self._admission.is_live_about:
            ended_ns = self._clock_ns()
            self._rest_until_ns = ended_ns + round(REST_STEPS * (ended_ns - started_ns))
        return reports + self._measure()

    def handle(self, command: Command) -> list[Report]:
        """Take a command in; what it leads to comes out of later steps."""
        match command:
            case SubmitCommand(request_id, generation):
                fault = _find_fault(generation, self._launch)
                if fault:
                    return [FailedReport(request_id, "invalid", fault)]
                self._admission.queue(request_id, generation)
            case CancelCommand(request_id):
                self._cancel(request_id)
        return []

    def _cancel(self, request_id: int) -> None:
        """Forget a request; the pipeline frees its blocks at the next step, which `busy` makes sure of."""
        self._admission.end(request_id)
        if self._reading is not None and self._reading.waiter.request_id == request_id:
            self._stop_reading()
        running = self._running.pop(request_id, None)
        if running:
            running.continuation.cancel()
            self._must_flush = True

    def _make_room(self) -> None:
        """Put background requests back into the line where live ones need their room.

        They go on later from where they were, and their blocks stay in the prefix cache meanwhile. One that has begun
        with a grammar runs on: a grammar cannot be entered midway.
        """
        reading = self._reading
        if reading is not None and not self._admission.may_read_pieces():
            self._must_flush |= reading.stop_piece()
        for request_id in self._admission.find_surplus():
            if reading is not None and reading.waiter.request_id == request_id:
                waiter = self._stop_reading()
                self._admission.queue(request_id, waiter.generation, waiter.read_tokens)
                continue
            running = self._running[request_id]
            if running.generation.grammar is None or not running.token_ids:
                del self._running[request_id]
                running.continuation.cancel()
                self._admission.queue(request_id, running.rest(), running.read_tokens)

    def _admit(self) -> list[Report]:
        """Start waiting requests while there is room."""
        failed: list[Report] = []
        for waiter in self._admission.take():
            if waiter.in_pieces:
                self._begin_reading(waiter)
            else:
                failed += self._start(waiter)
        return failed

    def _begin_reading(self, waiter: Waiter) -> None:
        """Read a prompt in pieces, from where its own and its neighbour's reading came to."""
        known = count_common(waiter.generation.prompt_token_ids, self._last_read)
        waiter = replace(waiter, read_tokens=max(known, waiter.read_tokens))
        self._reading = ChunkedPrefill(self._pipeline, waiter, self._launch.piece_tokens)

    def _may_read_on(self) -> bool:
        """Whether the prompt that is read in pieces may have its next one."""
        if self._reading is None or self._reading.is_at_work or not self._admission.may_read_pieces():
            return False
        return self._clock_ns() >= self._rest_until_ns

    def _read_on(self) -> list[Report]:
        """Begin the next piece, or, where one piece is left, the request itself."""
        reading = self._reading
        assert reading is not None
        if reading.is_done:
            self._last_read = reading.waiter.generation.prompt_token_ids
            self._stop_reading()
            return self._start(reading.waiter)
        try:
            reading.begin_piece()
        except RuntimeError as error:
            self._stop_reading()
            return self._refuse(reading.waiter.request_id, error)
        return []

    def _stop_reading(self) -> Waiter:
        """Read no more of the prompt that is read in pieces."""
        assert self._reading is not None
        reading, self._reading = self._reading, None
        self._must_flush |= reading.stop_piece()
        self._admission.end_pieces(reading.waiter.request_id)
        return reading.waiter

    def _start(self, waiter: Waiter) -> list[Report]:
        """Give a request to the pipeline."""
        stops = frozenset(waiter.generation.stop_token_ids).union(self._launch.stop_token_ids)
        try:
            continuation = self._pipeline.add(waiter.request_id, waiter.generation, stops)
        except RuntimeError as error:
            return self._refuse(waiter.request_id, error)
        self._running[waiter.request_id] = RunningRequest(continuation, waiter, stops)
        return []

    def _refuse(self, request_id: int, error: RuntimeError) -> list[Report]:
        """End a request that the pipeline does not take."""
        self._admission.end(request_id)
        return [FailedReport(request_id, "invalid", _first_line(error))]

    def _refuse_long(self, request_id: int) -> FailedReport:
        self._admission.end(request_id)
        return FailedReport(request_id, "invalid", "the prompt does not fit into the engine's key-value cache")

    def _collect(self, request_id: int) -> list[Report]:
        """Read what one running request got; forget it when it ended."""
        running = self._running[request_id]
        output = running.continuation.read()
        token_ids, logprobs, finish = output.token_ids, output.logprobs, output.finish
        running.token_ids += token_ids
        count = len(token_ids)
        if finish is None and running.continuation.is_refused():
            del self._running[request_id]
            return [self._refuse_long(request_id)]
        if finish:
            self._forget(request_id)
            if finish == "stop" and token_ids and token_ids[-1] in running.stop_token_ids:
                del token_ids[-1], logprobs[-1]
        elif not token_ids:
            return []
        is_first = len(running.token_ids) == count
        if is_first and not finish:
            self._admission.begin(request_id)
        return [TokensReport(request_id, TokenBatch(token_ids, logprobs, finish), is_first)]

    def _survive(self, error: RuntimeError) -> list[Report]:
        """Clear the pipeline after a step that raised, and start again whoever had no part in it.

        Such a step raises again until the guilty request is cancelled, and leaves the others' state unusable
        (measured). Those without a grammar go on from where they were; a grammar cannot be entered midway.
        If nothing ran, the pipeline itself is broken, and a new process is better than this one.
        """
        reading = self._reading
        has_piece = reading is not None and reading.stop_piece()
        if not self._running and not has_piece:
            raise error
        stopped, self._running = self._running, {}
        for running in stopped.values():
            running.continuation.cancel()
        self._pipeline.step()  # frees them; with the guilty one still in it, the next step would raise as well
        suspects = {request_id for request_id, running in stopped.items() if running.is_suspect}
        failed: list[Report] = []
        if not stopped:
            request_id = self._stop_reading().request_id
            self._admission.end(request_id)
            failed.append(FailedReport(request_id, "internal", _first_line(error)))
        for request_id, running in stopped.items():
            if suspects and running.generation.grammar is None:
                self._admission.queue(request_id, running.rest(), running.read_tokens)
            else:
                self._admission.end(request_id)
                reason: Literal["invalid", "internal"] = "invalid" if request_id in suspects else "internal"
                failed.append(FailedReport(request_id, reason, _first_line(error)))
        return failed

    def _forget(self, request_id: int) -> None:
        """A running request has ended."""
        del self._running[request_id]
        self._admission.end(request_id)

    def _measure(self) -> list[Report]:
        """Report the load if the numbers of requests changed."""
        running, waiting = len(self._running) + (self._reading is not None), self._admission.waiting
        if (running, waiting) == (self._told.running, self._told.waiting):
            return []
        cache = self._pipeline.measure_cache()
        self._told = EngineStats(
            running=running,
            waiting=waiting,
            cache_usage_ratio=cache.ratio,
            cache_bytes=cache.size_bytes,
        )
        return [StatsReport(self._told)]


def _find_fault(generation: GenerationRequest, launch: EngineConfig) -> str | None:
    """Say why a request cannot run. GenAI reads beyond the embedding table for an unknown id without a word."""
    prompt = generation.prompt_token_ids
    if not prompt:
        return "the prompt is empty"
    if len(prompt) >= launch.context_tokens:
        return f"the prompt is too long: {len(prompt)} tokens, and the model reads {launch.context_tokens}"
    if min(prompt) < 0 or max(prompt) >= launch.vocabulary_size:
        return f"a token id is not in the vocabulary of {launch.vocabulary_size}"
    if generation.max_tokens < 1:
        return "max_tokens must be at least 1"
    return None


def _first_line(error: RuntimeError) -> str:
    """Keep what an OpenVINO error says, without the path of the file in the build machine that said it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2] or lines[-1] if lines else type(error).__name__
