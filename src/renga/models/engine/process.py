"""The engine process: commands in, steps, reports out.

Owns: the process's life, and the child's end of the socket.
Must never know: text, chat templates, HTTP, other processes than the one at the socket's other end.
Invariants: one thread; the process ends when the socket closes, and by nothing else.

It is a process of its own because GenAI's `step()` holds the interpreter lock for its whole length: a thread beside it
got 2 to 5 turns a second (measured, openvino-genai 2026.4.1).
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from typing import Protocol

import msgspec

from renga.models.engine.ipc import (
    Command,
    EngineConfig,
    Frames,
    ReadyReport,
    Report,
    TokensReport,
    UnusableReport,
    decode_command,
    encode_frame,
)
from renga.models.engine.pipeline import load_pipeline
from renga.models.engine.scheduling.embedding_loop import EmbeddingEngine
from renga.models.engine.scheduling.step_loop import Engine

_READ_BYTES = 1 << 18


class StepLoop(Protocol):
    """What the process runs: a language model's `Engine`, or an `EmbeddingEngine`."""

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        ...

    @property
    def yield_interval_s(self) -> float | None:
        """How long nothing is to be done unless a command comes; None: until one comes."""
        ...

    def handle(self, command: Command) -> list[Report]:
        """Take a command in; what it leads to comes out of later steps."""
        ...

    def step(self) -> list[Report]:
        """Do a bounded piece of work, and say what came of it."""
        ...


def load_engine(config: EngineConfig) -> Engine:
    """Load a language model, and put an engine around it."""
    return Engine(load_pipeline(config), config)


def load_embedding_engine(config: EngineConfig) -> EmbeddingEngine:
    """Load an embedding model, and put an engine around it."""
    from renga.models.engine.embedding_pipeline import load_embedding_pipeline

    return EmbeddingEngine(load_embedding_pipeline(config))


class EngineConnection:
    """The child's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames()

    def receive(self, wait_s: float | None) -> list[Command] | None:
        """Read the commands that have come, or come within this time; None is for ever.

        Returns None if the other end is gone.
        """
        self._sock.settimeout(wait_s)
        try:
            data = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, TimeoutError):
            return []
        except ConnectionError:
            return None
        return [decode_command(frame) for frame in self._frames.feed(data)] if data else None

    def send(self, reports: list[Report]) -> bool:
        """Write all reports in one go. False: the other end is gone."""
        if not reports:
            return True
        self._sock.settimeout(None)
        try:
            self._sock.sendall(b"".join(encode_frame(report) for report in reports))
        except ConnectionError:
            return False
        return True


def run_loop(connection: EngineConnection, engine: StepLoop, *, flush_interval_ms: float) -> None:
    """Serve until the other end is gone.

    A small model steps every 2 ms, and an event for each token would cost the server more than the model takes.
    """
    pending: list[Report] = []
    flushed_ns = 0
    while True:
        commands = connection.receive(engine.yield_interval_s)
        if commands is None:
            return
        pending += [report for command in commands for report in engine.handle(command)]
        if engine.busy and not engine.yield_interval_s:
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
    return not isinstance(report, TokensReport) or report.batch.finish is not None or report.is_first


def main() -> None:
    """Run as `python -m renga.models.engine.process FD CONFIG`, with CONFIG as JSON."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the parent decides when this ends, by closing the socket
        signal.signal(ignored, signal.SIG_IGN)
    connection = EngineConnection(socket.socket(fileno=int(sys.argv[1])))
    config = msgspec.json.decode(sys.argv[2], type=EngineConfig)
    try:
        engine = load_embedding_engine(config) if config.task == "embed" else load_engine(config)
    except (RuntimeError, ImportError, OSError) as error:
        connection.send([UnusableReport(str(error))])
        return
    if connection.send([ReadyReport()]):
        run_loop(connection, engine, flush_interval_ms=config.flush_interval_ms)


if __name__ == "__main__":
    main()
