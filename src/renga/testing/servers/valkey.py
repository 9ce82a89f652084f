"""A Valkey or Redis of our own, for tests and benchmarks: started, stopped, killed, frozen and started again.

Owns: finding the program, a port, and that nothing of it is left behind.
Must never know: what is kept in it.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from typing import Self

_START_LIMIT_S = 30.0
_POLL_INTERVAL_S = 0.005
PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
"""None where neither is installed."""


class ValkeyServer:
    """One server on loopback, with nothing on disk. A context manager."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, empty. It answers when this returns.

        Raises: RuntimeError if it does not, or is not installed.
        """
        if PROGRAM is None:
            raise RuntimeError("neither valkey-server nor redis-server is installed")
        options = {"--port": str(self.port), "--bind": "127.0.0.1", "--save": "", "--appendonly": "no"}
        command = [PROGRAM, *(word for option in options.items() for word in option)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            try:
                if self.call("PING") == b"+PONG\r\n":
                    return
            except OSError:
                time.sleep(_POLL_INTERVAL_S)
        self.kill()
        raise RuntimeError(f"{PROGRAM} did not start on port {self.port}")

    def kill(self) -> None:
        """Kill it as `kill -9` does: what it had is gone. May be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server continue after `freeze` had stopped it."""
        self._signal(signal.SIGCONT)

    def call(self, *words: str) -> bytes:
        """One command on a connection of its own, and the first bytes of the reply as they came."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            encoded = [word.encode() for word in words]
            connection.sendall(
                b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
            )
            return connection.recv(65_536)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
