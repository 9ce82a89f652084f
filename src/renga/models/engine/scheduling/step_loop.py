"""One loop around continuous batching: who runs, who waits, what came of each step.

Owns: the pipeline's requests, from admission to their last token.
Must never know: text, sockets, OpenVINO.
Invariants: a bad request fails alone; while live requests are about, a step reads no more of background prompts than a
chunk (`EngineConfig.prefill_chunk_tokens`), and nothing of them while a live request waits for its first token. Read
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
    EmbedCommand,
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
from renga.models.engine.pipeline import Continuation, Extra, Pipeline
from renga.models.engine.scheduling.admission import Admission, WaitingRequest
from renga.models.engine.scheduling.chunked_prefill import ChunkedPrefill, count_common

YIELD_STEPS = 2.0
"""How long the background rests after each step of its own while live requests are about, in lengths of that step: a
live request then finds the processor idle two times in three (docs/log/batches.md)."""


class RunningRequest:
    """A request that the pipeline works on."""

    def __init__(self, continuation: Continuation, waiter: WaitingRequest, stop_token_ids: frozenset[int]) -> None:
        self.continuation = continuation
        self.generation = waiter.generation
        self.stop_token_ids = stop_token_ids
        self._read_tokens = waiter.read_tokens
        self.token_ids: list[int] = []
        """What it got so far."""

    @property
    def grammar_pending(self) -> bool:
        """Whether its grammar may be broken: GenAI compiles it inside `step`, for the first token."""
        return self.generation.grammar is not None and not self.token_ids

    @property
    def read_tokens(self) -> int:
        """How much of its `rest`'s prompt was read: all but the last token, once it has one."""
        if self.token_ids:
            return len(self.generation.prompt_token_ids) + len(self.token_ids) - 1
        return self._read_tokens

    def remaining(self) -> GenerationRequest:
        """The request that goes on where this one is."""
        return replace(
            self.generation,
            prompt_token_ids=self.generation.prompt_token_ids + self.token_ids,
            max_tokens=self.generation.max_tokens - len(self.token_ids),
        )


class Engine:
    """The pipeline with a bounded number of running requests, before which the others wait their turn."""

    def __init__(
        self, pipeline: Pipeline, config: EngineConfig, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._pipeline = pipeline
        self._config = config
        self._admission = Admission(config.max_running, config.max_background, clock_ns)
        self._running: dict[int, RunningRequest] = {}
        self._chunked: ChunkedPrefill | None = None
        """The background request whose prompt is read in chunks; it is not among the running."""
        self._last_read: list[int] = []
        """The last prompt that was: its neighbours in a batch begin alike."""
        self._must_flush = False
        self._clock_ns = clock_ns
        self._yield_until_ns = clock_ns()
        """Until then nothing is done for the background alone."""
        self._reported = EngineStats()

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return self._admission.waiting > 0 or self._has_work

    @property
    def yield_interval_s(self) -> float | None:
        """How long nothing is to be done unless a command comes; None: until one comes."""
        if not self.busy:
            return None
        if self._must_flush or self._admission.has_live:
            return 0.0
        yield_interval_ns = max(0, self._yield_until_ns - self._clock_ns())
        return (
            yield_interval_ns if self._has_work else max(yield_interval_ns, self._admission.yield_interval_ns())
        ) / 1e9

    @property
    def _has_work(self) -> bool:
        return bool(self._running) or self._chunked is not None or self._must_flush

    def step(self) -> list[Report]:
        """Admit, run the pipeline once, and collect what it made."""
        self._make_room()
        reports = self._admit()
        is_background = not self._admission.has_live
        if self._may_prefill_on():
            is_background = True
            reports += self._prefill_on()
        started_ns = self._clock_ns()
        try:
            self._pipeline.step()
        except RuntimeError as error:
            return reports + self._survive(error) + self._measure()
        self._must_flush = False
        for request_id in list(self._running):
            reports += self._collect(request_id)
        if self._chunked is not None and not self._chunked.finish_chunk():
            reports.append(self._refuse_long(self._stop_chunked().request_id))
        if is_background and self._admission.is_live_about:
            ended_ns = self._clock_ns()
            self._yield_until_ns = ended_ns + round(YIELD_STEPS * (ended_ns - started_ns))
        return reports + self._measure()

    def handle(self, command: Command) -> list[Report]:
        """Take a command in; what it leads to comes out of later steps."""
        match command:
            case SubmitCommand(request_id, generation):
                fault = _find_fault(generation, self._config, self._pipeline.accepts)
                if fault:
                    return [FailedReport(request_id, "invalid", fault)]
                self._admission.enqueue(request_id, generation)
            case EmbedCommand(request_id):
                return [FailedReport(request_id, "invalid", "the model writes answers and gives no embeddings")]
            case CancelCommand(request_id):
                self._cancel(request_id)
        return []

    def _cancel(self, request_id: int) -> None:
        """Forget a request; the pipeline frees its blocks at the next step, which `busy` makes sure of."""
        self._admission.end_request(request_id)
        if self._chunked is not None and self._chunked.waiter.request_id == request_id:
            self._stop_chunked()
        running = self._running.pop(request_id, None)
        if running:
            running.continuation.cancel()
            self._must_flush = True

    def _make_room(self) -> None:
        """Put background requests back into the line where live ones need their room.

        They go on later from where they were, and their blocks stay in the prefix cache meanwhile. One that has begun
        with a grammar runs on: a grammar cannot be entered midway.
        """
        chunked = self._chunked
        if chunked is not None and not self._admission.may_prefill_chunk():
            self._must_flush |= chunked.cancel_chunk()
        for request_id in self._admission.find_surplus():
            if chunked is not None and chunked.waiter.request_id == request_id:
                waiter = self._stop_chunked()
                self._admission.enqueue(request_id, waiter.generation, waiter.read_tokens)
                continue
            running = self._running[request_id]
            if running.generation.grammar is None or not running.token_ids:
                del self._running[request_id]
                running.continuation.cancel()
                self._admission.enqueue(request_id, running.remaining(), running.read_tokens)

    def _admit(self) -> list[Report]:
        """Start waiting requests while there is room."""
        failed: list[Report] = []
        for waiter in self._admission.take():
            if waiter.in_chunks:
                self._start_chunked(waiter)
            else:
                failed += self._start(waiter)
        return failed

    def _start_chunked(self, waiter: WaitingRequest) -> None:
        """Read a prompt in chunks, from where its own and its neighbour's reading came to."""
        known = count_common(waiter.generation.prompt_token_ids, self._last_read)
        waiter = replace(waiter, read_tokens=max(known, waiter.read_tokens))
        self._chunked = ChunkedPrefill(self._pipeline, waiter, self._config.prefill_chunk_tokens)

    def _may_prefill_on(self) -> bool:
        """Whether the prompt that is read in chunks may have its next one."""
        if self._chunked is None or self._chunked.has_chunk or not self._admission.may_prefill_chunk():
            return False
        return self._clock_ns() >= self._yield_until_ns

    def _prefill_on(self) -> list[Report]:
        """Begin the next chunk, or, where one chunk is left, the request itself."""
        chunked = self._chunked
        assert chunked is not None
        if chunked.is_done:
            self._last_read = chunked.waiter.generation.prompt_token_ids
            self._stop_chunked()
            return self._start(chunked.waiter)
        try:
            chunked.start_chunk()
        except RuntimeError as error:
            self._stop_chunked()
            return self._refuse(chunked.waiter.request_id, error)
        return []

    def _stop_chunked(self) -> WaitingRequest:
        """Read no more of the prompt that is read in chunks."""
        assert self._chunked is not None
        chunked, self._chunked = self._chunked, None
        self._must_flush |= chunked.cancel_chunk()
        self._admission.end_chunks(chunked.waiter.request_id)
        return chunked.waiter

    def _start(self, waiter: WaitingRequest) -> list[Report]:
        """Give a request to the pipeline."""
        stops = frozenset(waiter.generation.stop_token_ids).union(self._config.stop_token_ids)
        try:
            continuation = self._pipeline.add(waiter.request_id, waiter.generation, stops)
        except RuntimeError as error:
            return self._refuse(waiter.request_id, error)
        self._running[waiter.request_id] = RunningRequest(continuation, waiter, stops)
        return []

    def _refuse(self, request_id: int, error: RuntimeError) -> list[Report]:
        """End a request that the pipeline does not take."""
        self._admission.end_request(request_id)
        return [FailedReport(request_id, "invalid", _first_line(error))]

    def _refuse_long(self, request_id: int) -> FailedReport:
        self._admission.end_request(request_id)
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
            self._admission.note_first_token(request_id)
        return [TokensReport(request_id, TokenBatch(token_ids, logprobs, finish), is_first)]

    def _survive(self, error: RuntimeError) -> list[Report]:
        """Clear the pipeline after a step that raised, and start again whoever had no part in it.

        Such a step raises again until the guilty request is cancelled, and leaves the others' state unusable
        (measured). Those without a grammar go on from where they were; a grammar cannot be entered midway.
        If nothing ran, the pipeline itself is broken, and a new process is better than this one.
        """
        chunked = self._chunked
        has_chunk = chunked is not None and chunked.cancel_chunk()
        if not self._running and not has_chunk:
            raise error
        stopped, self._running = self._running, {}
        for running in stopped.values():
            running.continuation.cancel()
        self._pipeline.step()  # frees them; with the guilty one still in it, the next step would raise as well
        suspects = {request_id for request_id, running in stopped.items() if running.grammar_pending}
        failed: list[Report] = []
        if not stopped:
            request_id = self._stop_chunked().request_id
            self._admission.end_request(request_id)
            failed.append(FailedReport(request_id, "internal", _first_line(error)))
        for request_id, running in stopped.items():
            if suspects and running.generation.grammar is None:
                self._admission.enqueue(request_id, running.remaining(), running.read_tokens)
            else:
                self._admission.end_request(request_id)
                reason: Literal["invalid", "internal"] = "invalid" if request_id in suspects else "internal"
                failed.append(FailedReport(request_id, reason, _first_line(error)))
        return failed

    def _forget(self, request_id: int) -> None:
        """Note that a running request has ended, and free its place."""
        del self._running[request_id]
        self._admission.end_request(request_id)

    def _measure(self) -> list[Report]:
        """Report the load if the numbers of requests changed."""
        running, waiting = len(self._running) + (self._chunked is not None), self._admission.waiting
        if (running, waiting) == (self._reported.running, self._reported.waiting):
            return []
        cache = self._pipeline.measure_cache()
        self._reported = EngineStats(
            running=running,
            waiting=waiting,
            cache_usage_ratio=cache.ratio,
            cache_bytes=cache.size_bytes,
        )
        return [StatsReport(self._reported)]


def _find_fault(generation: GenerationRequest, config: EngineConfig, accepts: frozenset[Extra]) -> str | None:
    """Say why a request cannot run. GenAI reads beyond the embedding table for an unknown id without a word."""
    prompt = generation.prompt_token_ids
    if not prompt:
        return "the prompt is empty"
    if len(prompt) >= config.context_tokens:
        return f"the prompt is too long: {len(prompt)} tokens, and the model reads {config.context_tokens}"
    if min(prompt) < 0 or max(prompt) >= config.vocabulary_size:
        return f"a token id is not in the vocabulary of {config.vocabulary_size}"
    if generation.max_tokens < 1:
        return "max_tokens must be at least 1"
    if generation.images and "images" not in accepts:
        return "the model reads no images"
    if generation.adapter is not None and "adapter" not in accepts:
        return "the engine runs this model without adapters"
    return None


def _first_line(error: RuntimeError) -> str:
    """Keep what an OpenVINO error says, without the path of the file in the build machine that said it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2] or lines[-1] if lines else type(error).__name__
