"""The engine process: one loop around OpenVINO GenAI's continuous batching.

Owns: the pipeline, which requests run and which wait, and the child's end of the socket.
Must never know: text, chat templates, HTTP, other processes than the one at the socket's other end.
Invariants: one thread; a bad request fails alone; the process ends when the socket closes, and by nothing else.

It is a process of its own because `step()` holds the interpreter lock for its whole length: a thread beside it got
2 to 5 turns a second (measured, openvino-genai 2026.4.1). Read `Engine.step` first.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from typing import Literal

import msgspec

from renga.engine.admission import Admission
from renga.engine.pipeline import Continuation, Pipeline, load_pipeline
from renga.engine.protocol import (
    Cancel,
    Command,
    EngineStats,
    Failed,
    Frames,
    Generation,
    Launch,
    Metrics,
    ModelInfo,
    Ready,
    Report,
    Submit,
    TokenBatch,
    Tokens,
    Unusable,
    decode_command,
    encode_frame,
)

_READ_BYTES = 1 << 18


class Running:
    """A request that the pipeline works on."""

    def __init__(self, continuation: Continuation, generation: Generation, stop_token_ids: frozenset[int]) -> None:
        self.continuation = continuation
        self.generation = generation
        self.stop_token_ids = stop_token_ids
        self.token_ids: list[int] = []
        """What it got so far."""

    @property
    def is_suspect(self) -> bool:
        """Whether its grammar may be broken: GenAI compiles it inside `step`, for the first token."""
        return self.generation.grammar is not None and not self.token_ids

    def rest(self) -> Generation:
        """The request that goes on where this one is."""
        return msgspec.structs.replace(
            self.generation,
            prompt_token_ids=self.generation.prompt_token_ids + self.token_ids,
            max_tokens=self.generation.max_tokens - len(self.token_ids),
        )


class Engine:
    """The pipeline with a bounded number of running requests, before which the others wait their turn."""

    def __init__(self, pipeline: Pipeline, launch: Launch) -> None:
        self._pipeline = pipeline
        self._launch = launch
        self._admission = Admission(launch.running_max, launch.background_max)
        self._running: dict[int, Running] = {}
        self._must_flush = False
        self._told = EngineStats()

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._running) or self._admission.waiting > 0 or self._must_flush

    def step(self) -> list[Report]:
        """Admit, run the pipeline once, and collect what it made."""
        self._make_room()
        reports = self._admit()
        started_ns = time.monotonic_ns()
        try:
            self._pipeline.step()
        except RuntimeError as error:
            return reports + self._survive(error) + self._measure(started_ns)
        self._must_flush = False
        for request_id in list(self._running):
            reports += self._collect(request_id)
        return reports + self._measure(started_ns)

    def handle(self, command: Command) -> list[Report]:
        """Take a command in; what it leads to comes out of later steps."""
        match command:
            case Submit(request_id, generation):
                fault = _find_fault(generation, self._launch)
                if fault:
                    return [Failed(request_id, "invalid", fault)]
                self._admission.queue(request_id, generation)
            case Cancel(request_id):
                self._cancel(request_id)
        return []

    def _cancel(self, request_id: int) -> None:
        """Forget a request; the pipeline frees its blocks at the next step, which `busy` makes sure of."""
        self._admission.end(request_id)
        running = self._running.pop(request_id, None)
        if running:
            running.continuation.cancel()
            self._must_flush = True

    def _make_room(self) -> None:
        """Put background requests back into the line where live ones need their room.

        They go on later from where they were, and their blocks stay in the prefix cache meanwhile. One that has begun
        with a grammar runs on: a grammar cannot be entered midway.
        """
        for request_id in self._admission.find_surplus():
            running = self._running[request_id]
            if running.generation.grammar is None or not running.token_ids:
                del self._running[request_id]
                running.continuation.cancel()
                self._admission.queue(request_id, running.rest())

    def _admit(self) -> list[Report]:
        """Start waiting requests while there is room."""
        failed: list[Report] = []
        for waiter in self._admission.take():
            try:
                self._running[waiter.request_id] = self._start(waiter.request_id, waiter.generation)
            except RuntimeError as error:
                self._admission.end(waiter.request_id)
                failed.append(Failed(waiter.request_id, "invalid", _first_line(error)))
        return failed

    def _start(self, request_id: int, generation: Generation) -> Running:
        stops = frozenset(generation.stop_token_ids).union(self._launch.stop_token_ids)
        return Running(self._pipeline.add(request_id, generation, stops), generation, stops)

    def _collect(self, request_id: int) -> list[Report]:
        """Read what one running request got; forget it when it ended."""
        running = self._running[request_id]
        output = running.continuation.read()
        token_ids, logprobs, finish = output.token_ids, output.logprobs, output.finish
        running.token_ids += token_ids
        count = len(token_ids)
        if finish is None and running.continuation.is_refused():
            self._forget(request_id)
            return [Failed(request_id, "invalid", "the prompt does not fit into the engine's key-value cache")]
        if finish:
            self._forget(request_id)
            if finish == "stop" and token_ids and token_ids[-1] in running.stop_token_ids:
                del token_ids[-1], logprobs[-1]
        elif not token_ids:
            return []
        is_first = len(running.token_ids) == count
        if is_first and not finish:
            self._admission.begin(request_id)
        return [Tokens(request_id, TokenBatch(token_ids, logprobs, finish), is_first)]

    def _survive(self, error: RuntimeError) -> list[Report]:
        """Clear the pipeline after a step that raised, and start again whoever had no part in it.

        Such a step raises again until the guilty request is cancelled, and leaves the others' state unusable
        (measured). Those without a grammar go on from where they were; a grammar cannot be entered midway.
        If nothing ran, the pipeline itself is broken, and a new process is better than this one.
        """
        if not self._running:
            raise error
        stopped, self._running = self._running, {}
        for running in stopped.values():
            running.continuation.cancel()
        self._pipeline.step()  # frees them; with the guilty one still in it, the next step would raise as well
        suspects = {request_id for request_id, running in stopped.items() if running.is_suspect}
        failed: list[Report] = []
        for request_id, running in stopped.items():
            if suspects and running.generation.grammar is None:
                self._admission.queue(request_id, running.rest())
            else:
                self._admission.end(request_id)
                reason: Literal["invalid", "internal"] = "invalid" if request_id in suspects else "internal"
                failed.append(Failed(request_id, reason, _first_line(error)))
        return failed

    def _forget(self, request_id: int) -> None:
        """A running request has ended."""
        del self._running[request_id]
        self._admission.end(request_id)

    def _measure(self, started_ns: int) -> list[Report]:
        """Report the load if the numbers of requests changed."""
        running, waiting = len(self._running), self._admission.waiting
        if (running, waiting) == (self._told.running, self._told.waiting):
            return []
        cache = self._pipeline.measure_cache()
        self._told = EngineStats(
            running=running,
            waiting=waiting,
            cache_usage_ratio=cache.ratio,
            cache_bytes=cache.size_bytes,
            step_ms=(time.monotonic_ns() - started_ns) / 1e6,
        )
        return [Metrics(self._told)]


def _find_fault(generation: Generation, launch: Launch) -> str | None:
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


def load_engine(launch: Launch) -> Engine:
    """Load the model, and put an engine around it."""
    return Engine(load_pipeline(launch), launch)


class Connection:
    """The child's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames()

    def receive(self, *, wait: bool) -> list[Command] | None:
        """Read the commands that have come; with `wait`, sleep until there is one. None: the other end is gone."""
        self._sock.setblocking(wait)
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        return [decode_command(frame) for frame in self._frames.feed(data)] if data else None

    def send(self, reports: list[Report]) -> bool:
        """Write all reports in one go. False: the other end is gone."""
        if not reports:
            return True
        self._sock.setblocking(True)
        try:
            self._sock.sendall(b"".join(encode_frame(report) for report in reports))
        except ConnectionError:
            return False
        return True


def run(connection: Connection, engine: Engine, *, flush_interval_ms: float) -> None:
    """Serve until the other end is gone.

    A small model steps every 2 ms, and an event for each token would cost the server more than the model takes.
    """
    pending: list[Report] = []
    flushed_ns = 0
    while True:
        commands = connection.receive(wait=not engine.busy)
        if commands is None:
            return
        pending += [report for command in commands for report in engine.handle(command)]
        if engine.busy:
            pending += engine.step()
        now_ns = time.monotonic_ns()
        is_due = now_ns - flushed_ns >= flush_interval_ms * 1e6
        if is_due or not engine.busy or any(map(_is_urgent, pending)):
            if not connection.send(pending):
                return
            pending = []
            flushed_ns = now_ns


def _is_urgent(report: Report) -> bool:
    """Whether someone waits for this very report: a first or last batch, or an error."""
    return not isinstance(report, Tokens) or report.batch.finish is not None or report.is_first


def main() -> None:
    """Run as `python -m renga.engine.process FD LAUNCH`, with LAUNCH as JSON."""
    started_ns = time.monotonic_ns()
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the parent decides when this ends, by closing the socket
        signal.signal(ignored, signal.SIG_IGN)
    connection = Connection(socket.socket(fileno=int(sys.argv[1])))
    launch = msgspec.json.decode(sys.argv[2], type=Launch)
    try:
        engine = load_engine(launch)
    except (RuntimeError, ImportError, OSError) as error:
        connection.send([Unusable(str(error))])
        return
    load_ms = (time.monotonic_ns() - started_ns) / 1e6
    info = ModelInfo(launch.vocabulary_size, launch.context_tokens, launch.stop_token_ids, load_ms)
    if connection.send([Ready(info)]):
        run(connection, engine, flush_interval_ms=launch.flush_interval_ms)


if __name__ == "__main__":
    main()
