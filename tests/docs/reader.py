"""A reader who does what a document says, in one shell, to the letter.

What stands in a document for something that the reader has is replaced, and nothing else: the two ports by free ones,
`sk-renga-...` by the key that the server printed, and an id such as `msgbatch_01...` by the last one that was printed.
The environment is PATH, HOME, LANG, and the port; HOME is empty at first.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.docs.blocks import Block, promises, read_console

LIMIT_S = 600.0 if "TEST_CLONE" in os.environ else 150.0
_LOOK_INTERVAL_S = 0.05
_SERVE = re.compile(r"^(?:scripts/serve|renga serve)\b")
_ID = re.compile(r"\b(key|req|msg|msgbatch|file)_(?:01)?\.\.\.")
_END = "--- the reader waits for this line ---"
_MASKS = (
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\b\d+ us\b"), "TIME us"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
)


class Reader:
    """One document's reader. A context manager: what was started is gone at its end."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.key = ""
        self.seen = ""
        """All that was printed so far."""
        home.mkdir(parents=True)
        self._ports = {"8080": _free_port(), "8081": _free_port()}
        self._server: int | None = None
        self._log = home / "server.log"
        environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        environ["RENGA_SERVER_PORT"] = self._ports["8080"]
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin and self._shell.stdout
        self._stop_server()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._shell.stdin.close()
        self._shell.stdout.close()

    def save(self, block: Block) -> None:
        """Save a block under the name that it carries."""
        (self.folder / block.file).write_text(self._replace(block.text), encoding="utf-8")

    def run(self, block: Block) -> None:
        """Do what a block says.

        Raises: AssertionError where a command fails, answers with an error, or prints something else than promised.
        """
        if block.language == "console":
            for command, expected in read_console(block):
                printed = self._send(f"set +e\n{self._replace(command)}\nset -e")
                assert _mask(printed) == _mask(expected), f"line {block.line}: {command} printed\n{printed}"
        elif block.language == "python":
            file = self.home / "block.py"
            file.write_text(self._replace(block.text), encoding="utf-8")
            printed = self._send(f".venv/bin/python {file}")
            for promise in promises(block):
                assert promise in printed, f"line {block.line} promises {promise!r} and printed\n{printed}"
        else:
            self._run_shell(block)

    def _run_shell(self, block: Block) -> None:
        waiting: list[str] = []
        for command in re.split(r"(?<!\\)\n", block.text):
            if _SERVE.match(command):
                self._flush(waiting)
                self._serve(command)
                continue
            if _ID.search(command):  # what it stands for may be printed by the command before
                self._flush(waiting)
            waiting.append(command)
        self._flush(waiting)

    def _flush(self, lines: list[str]) -> None:
        text = "\n".join(lines)
        lines.clear()
        if text.strip():
            printed = self._send(self._replace(text))
            assert '{"type":"error"' not in printed, f"{text}\nanswered\n{printed}"

    def _serve(self, command: str) -> None:
        """Start a server and leave it running; a reader ends the one before it."""
        self._stop_server()
        plain = self._replace(command.partition(" #")[0].rstrip())
        printed = self._send(f'{plain} > "{self._log}" 2>&1 &\necho "pid $!"')
        self._server = int(re.findall(r"pid (\d+)", printed)[-1])
        _wait_until(self._is_ready)
        said = self._log.read_text(encoding="utf-8", errors="replace")
        self.seen += said
        if keys := re.findall(r"\bsk-renga-\w{20,}", said):
            self.key = keys[0]

    def _is_ready(self) -> bool:
        assert self._server is not None
        said = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        assert Path(f"/proc/{self._server}").exists(), f"the server ended:\n{said[-3000:]}"
        if "Ctrl-C stops it." not in said:  # the key is said with it, and that may be after it is ready
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['8080']}/ready", timeout=5) as response:
                return response.status == 200
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _stop_server(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        try:
            os.kill(server, signal.SIGTERM)
        except ProcessLookupError:
            return
        _wait_until(lambda: _is_gone(server))

    def _replace(self, text: str) -> str:
        for written, port in self._ports.items():
            for before in ("127.0.0.1:", "port = "):
                text = text.replace(before + written, before + port)
        if "sk-renga-..." in text:
            assert self.key, "no server has printed a key yet"
            text = text.replace("sk-renga-...", self.key)
        return _ID.sub(self._last_id, text)

    def _last_id(self, placeholder: re.Match[str]) -> str:
        found = re.findall(rf"\b{placeholder[1]}_[0-9A-Za-z]{{8,}}", self.seen)
        assert found, f"nothing was printed that {placeholder[0]} could stand for"
        return found[-1]

    def _send(self, text: str) -> str:
        """Run lines in the shell and give what they print; the first command that fails ends the shell."""
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"set -e\n{text}\necho '{_END}'\n".encode())
        self._shell.stdin.flush()
        deadline = time.monotonic() + LIMIT_S
        printed = b""
        while not printed.endswith(f"{_END}\n".encode()):
            ready, _, _ = select.select([self._shell.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._shell.stdout.fileno(), 1 << 16) if ready else b""
            if not chunk:
                why = "a command failed" if ready else f"nothing was printed for {LIMIT_S:g} s"
                raise AssertionError(f"{why}:\n{text}\nprinted\n{printed.decode(errors='replace')}")
            printed += chunk
        output = printed.decode(errors="replace").removesuffix(f"{_END}\n")
        self.seen += output
        return output


def _wait_until(condition: Callable[[], bool]) -> None:
    """Look until it is so; the first start of a server may install what it needs."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {LIMIT_S:g} s"
        time.sleep(_LOOK_INTERVAL_S)


def _is_gone(pid: int) -> bool:
    """Whether a process has ended; its shell may not have asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _mask(text: str) -> str:
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text.strip()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
