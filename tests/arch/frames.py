"""How many of our own frames lie between a handler and a socket: `python -m tests.arch.frames`.

Owns: a real server in a process of its own, one request to each kind of target, and the stack at the moment in which
the request's bytes are written to the engine process or to the upstream.
Must never know: any name inside the server but the handler's and the request's. The sockets are told apart by who is
at their other end, so the same program measures every layout. Run it with the source to be measured in PYTHONPATH.

How: in the server's process every protocol of ours that asyncio connects gets its transport in a wrapper, which looks
at the stack when it is written to. Coroutines and generators that await each other stand on it like plain calls. Values
of ours that hold the decoded request or its body are found among what the frames hold; those that lived for one call
only are gone by then and not seen.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import linecache
import os
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

HANDLER = "http/exchange/inference_routes.py:answer_request"
"""Where counting begins: the end of a file's path, and a function in it."""
REQUEST = "MessageRequest"
"""The type of the decoded request that the handler holds."""

_STARTED_AS = "from tests.arch.frames import serve; serve()"
_VARIABLES = ("OUT", "HANDLER", "REQUEST", "PORT")
_LIMIT_S = 120.0


@dataclass(frozen=True)
class Frame:
    """One frame of our own code."""

    file: str
    line: int
    function: str
    source: str


@dataclass(frozen=True)
class Trail:
    """What was found on the way of one request."""

    frames: list[Frame]
    packings: list[str]
    """Our types whose values hold the request or its body, in the order in which the frames hold them."""


class Recorder:
    """Writes down the first stack that leads from the handler to a socket of the kind that is asked for."""

    def __init__(self, package: Path, handler: str, request: str, out: Path) -> None:
        self._package = package
        self._request = request
        self._file, _, self._function = handler.partition(":")
        self._out = out

    def look(self, frame: FrameType | None) -> None:
        """Take the stack above a write, unless the handler is not on it or one was taken before."""
        own: list[FrameType] = []
        while frame is not None and not self._out.exists():
            if Path(frame.f_code.co_filename).is_relative_to(self._package):
                own.append(frame)
                if self._name(frame).endswith(self._file) and frame.f_code.co_name == self._function:
                    own.reverse()
                    trail = {
                        "frames": [vars(self._describe(each)) for each in own],
                        "packings": _packings(own, self._request),
                    }
                    self._out.write_text(json.dumps(trail), encoding="utf-8")
            frame = frame.f_back

    def _name(self, frame: FrameType) -> str:
        return Path(frame.f_code.co_filename).relative_to(self._package).as_posix()

    def _describe(self, frame: FrameType) -> Frame:
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        return Frame(self._name(frame), frame.f_lineno, frame.f_code.co_qualname, source)


def _packings(frames: list[FrameType], request: str) -> list[str]:
    """The types of ours whose values hold the request or its body, each with how many fields its values have."""
    local = frames[0].f_locals.values()
    facts = {id(value) for value in local if type(value).__name__ == request or isinstance(value, bytes)}
    found: dict[str, None] = {}
    for frame in frames:
        for value in frame.f_locals.values():
            for holder in (value, *_fields(value)):
                if id(holder) not in facts and any(id(field) in facts for field in _fields(holder)):
                    found[f"{type(holder).__name__} ({len(_fields(holder))} fields)"] = None
    return list(found)


def _fields(value: object) -> list[object]:
    """What a value of ours holds, whether it is a struct, a dataclass or a plain class; nothing of others."""
    if not type(value).__module__.startswith("renga."):
        return []
    names = [
        *getattr(value, "__struct_fields__", ()),
        *getattr(value, "__slots__", ()),
        *getattr(value, "__dict__", ()),
    ]
    return [getattr(value, name, None) for name in dict.fromkeys(names)]


class Watched:
    """A transport that reports who writes to it, and otherwise is the one that it wraps."""

    def __init__(self, transport: Any, recorder: Recorder) -> None:
        self._transport = transport
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Report the stack of the caller, then write."""
        self._recorder.look(inspect.currentframe())
        self._transport.write(data)

    def writelines(self, data: list[bytes]) -> None:
        """Report the stack of the caller, then write."""
        self._recorder.look(inspect.currentframe())
        self._transport.writelines(data)


def serve() -> None:
    """The server's process: like `renga serve`, with its connections watched. Settings come from the environment."""
    out, handler, request, upstream_port = (os.environ.pop(f"FRAMES_{name}") for name in _VARIABLES)
    import renga

    assert renga.__file__ is not None
    recorder = Recorder(Path(renga.__file__).parent, handler, request, Path(out))

    def is_watched(transport: Any) -> bool:
        end = transport.get_extra_info("socket")
        if end.family == socket.AF_UNIX:
            return not int(upstream_port)
        return str(end.getpeername()[1]) == upstream_port

    def watch(protocol: type[asyncio.Protocol], **_: Any) -> None:
        made = protocol.__dict__.get("connection_made")
        if made is not None:

            def connection_made(self: Any, transport: Any) -> None:
                made(self, Watched(transport, recorder) if is_watched(transport) else transport)

            protocol.connection_made = connection_made  # type: ignore[method-assign]

    asyncio.Protocol.__init_subclass__ = classmethod(watch)  # type: ignore[assignment, arg-type]
    from renga.cli import main

    sys.argv = ["renga", "serve", "--port", "0"]
    main()


@contextmanager
def started(config: str, folder: Path, *values: str) -> Generator[tuple[str, str]]:
    """A server with these settings. Gives its address and a key."""
    settings = folder / "renga.toml"
    settings.write_text(f'[store]\ndata_dir = "{folder}"\n{config}', encoding="utf-8")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RENGA_")}
    environ |= {"RENGA_CONFIG": str(settings)}
    environ |= {f"FRAMES_{name}": value for name, value in zip(_VARIABLES, values, strict=True)}
    command = [sys.executable, "-c", _STARTED_AS]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield _read(server.stdout, r"listens on (http\S+)"), _read(server.stdout, r'x-api-key: ([^"\s]+)')
        finally:
            server.terminate()


@contextmanager
def echoing() -> Generator[str]:
    """An upstream that answers anything at once, from `renga.testing`. Gives its address."""
    command = [sys.executable, "-m", "renga.testing.servers.scripted_upstream", "--events", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as upstream:
        assert upstream.stdout is not None
        try:
            yield _read(upstream.stdout, r"(http\S+)")
        finally:
            upstream.kill()


def _read(stream: IO[str], pattern: str) -> str:
    """The group of the first line that has the pattern.

    Raises: EOFError if the program ends before it says so.
    """
    for line in stream:
        if (found := re.search(pattern, line)) is not None:
            return found[1]
    raise EOFError(f"the program ended and never said {pattern}")


def ask(url: str, key: str, *, stream: bool) -> None:
    """One request for a few tokens, read to its end."""
    messages = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": "haiku", "max_tokens": 4, "stream": stream, "messages": messages}).encode()
    headers = {"x-api-key": key, "content-type": "application/json", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(f"{url}/v1/messages", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=_LIMIT_S) as response:
        response.read()


def measure(case: str, handler: str, request: str, *, stream: bool) -> Trail:
    """The frames from the handler to the write, both counted; none where no stack leads from one to the other."""
    with tempfile.TemporaryDirectory(prefix="renga-frames-") as scratch:
        out = Path(scratch) / "frames.json"
        if case == "engine":
            with started("", Path(scratch), str(out), handler, request, "0") as (url, key):
                ask(url, key, stream=stream)
        else:
            with echoing() as upstream:
                port = upstream.rpartition(":")[2]
                config = (
                    '[engine]\nenabled = false\n[tiers]\nhaiku = ["echo/echo"]\n'
                    f'[providers.echo]\nkind = "anthropic"\nbase_url = "{upstream}"\n'
                )
                with started(config, Path(scratch), str(out), handler, request, port) as (url, key):
                    ask(url, key, stream=stream)
        found: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.exists() else {"frames": [], "packings": []}
        return Trail([Frame(**each) for each in found["frames"]], found["packings"])


def render(case: str, trail: Trail, *, stream: bool) -> str:
    """What was found in one case, as Markdown."""
    kind = "a stream" if stream else "a whole answer"
    lines = [f"## From the handler to the {case}'s socket, {kind}: {len(trail.frames)} frames", ""]
    lines += [
        f"{number}. `{frame.function}` ({frame.file}:{frame.line}): `{frame.source}`"
        for number, frame in enumerate(trail.frames, 1)
    ]
    if not trail.frames:
        lines.append("No stack leads there: another task writes, or the handler is called otherwise.")
    held = ", ".join(trail.packings) or "nothing"
    return "\n".join([*lines, "", f"The request or its body is held by {len(trail.packings)} types: {held}."])


def main() -> None:
    """Measure both cases and print them."""
    parser = argparse.ArgumentParser(description="Count our own frames between the handler and the sockets.")
    parser.add_argument("--handler", default=HANDLER, help=f"END-OF-PATH:FUNCTION; default {HANDLER}")
    parser.add_argument("--request", default=REQUEST, help=f"the type of the decoded request; default {REQUEST}")
    parser.add_argument("--stream", action="store_true", help="ask for streams")
    parser.add_argument(
        "--most", type=int, metavar="FRAMES", help="fail where there are more frames than that, or none"
    )
    options = parser.parse_args()
    trails = {
        case: measure(case, options.handler, options.request, stream=options.stream) for case in ("engine", "upstream")
    }
    for case, trail in trails.items():
        print(render(case, trail, stream=options.stream), end="\n\n")
    if options.most is not None and not all(0 < len(trail.frames) <= options.most for trail in trails.values()):
        sys.exit(f"more than {options.most} frames, or none")


if __name__ == "__main__":
    main()
