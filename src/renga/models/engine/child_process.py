"""The engine process as the server holds it: how it is started, its socket, and its end.

Must never know: which requests there are, when a process is started again.
Invariant: no thread is started; a process whose socket nobody holds any more ends by itself.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import msgspec

from renga.models.engine.ipc import Command, EngineConfig, Frames, Report, decode_report, encode_frame


class ChildProcess(asyncio.Protocol):
    """One run of the engine process, with its socket and the decoder of its reports."""

    def __init__(self, process: subprocess.Popen[bytes], receive: Callable[[Report, ChildProcess], None]) -> None:
        """`receive` is given every report of the process as it comes."""
        self._receive = receive
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self.process = process
        self.was_ready = False
        self.gone = asyncio.get_running_loop().create_future()
        """Done when the socket is closed, from either end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by class
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._receive(decode_report(frame), self)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def send(self, command: Command) -> None:
        """Write a command; to a child that is gone it is lost, and `gone` says so."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(encode_frame(command))

    def kill(self) -> None:
        """End the process at once and reap it. It has no state worth a farewell. Cost: about 1 ms, blocking."""
        if self._transport:
            self._transport.abort()
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class SpawnedProcess:
    """A process that was started, and our end of its socket."""

    process: subprocess.Popen[bytes]
    socket: socket.socket

    def end(self) -> None:
        """Kill and reap a process that nobody will speak to. Cost: about 1 ms, blocking."""
        self.socket.close()
        self.process.kill()
        self.process.wait()


def spawn(config: EngineConfig) -> SpawnedProcess:
    """Start an engine process with one end of a socket pair. Needs no event loop. Cost: about 2 ms, blocking.

    A process whose socket nobody holds any more ends by itself.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    arguments = ["-m", "renga.models.engine.process", str(theirs.fileno()), msgspec.json.encode(config).decode()]
    # A terminal's Ctrl-C goes to both, and is the parent's business from the child's first moment on. Masks stay.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        with theirs:
            process = subprocess.Popen(  # a fork and exec; asyncio's own would start a thread
                [sys.executable, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    return SpawnedProcess(process, ours)
