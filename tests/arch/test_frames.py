"""What `tests/arch/frames.py` takes from a stack: our own frames from the handler on, and what holds the request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.arch.frames import Frame, Recorder, Trail, Watched, render

HANDLER = """
class MessageRequest: ...

class Ask:
    def __init__(self, request):
        self.request = request
        self.key = "k"

async def create(send):
    request, body = MessageRequest(), b"{}"
    ask = Ask(request)
    await send(ask)

async def other(send):
    await send(Ask(MessageRequest()))
"""
CLIENT = """
async def stream(ask, transport):
    transport.write(b"x")
    yield 1

async def send(ask, transport):
    async for _ in stream(ask, transport):
        pass
"""


class Socket:
    """The end of a connection, as far as a wrapper needs it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def compile_at(package: Path, path: str, source: str) -> dict[str, Any]:
    """A module whose code says that it stands at a path of the package."""
    names: dict[str, Any] = {"__name__": "renga." + path.removesuffix(".py").replace("/", ".")}
    exec(compile(source, str(package / path), "exec"), names)
    return names


@pytest.mark.parametrize(("function", "frames"), [("create", ["create", "send", "stream"]), ("other", [])])
async def test_frames_are_counted_from_the_handler_to_the_write(
    tmp_path: Path, function: str, frames: list[str]
) -> None:
    handlers = compile_at(tmp_path / "renga", "http/messages.py", HANDLER)
    client = compile_at(tmp_path / "renga", "engine/client.py", CLIENT)
    out = tmp_path / "frames.json"
    end = Socket()
    transport = Watched(end, Recorder(tmp_path / "renga", "http/messages.py:create", "MessageRequest", out))

    async def send(ask: object) -> None:
        await client["send"](ask, transport)

    await handlers[function](send)
    assert end.written == [b"x"]
    found: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.exists() else {"frames": [], "packings": []}
    assert [frame["function"] for frame in found["frames"]] == frames
    assert found["packings"] == (["Ask (2 fields)"] if frames else [])


def test_a_stack_that_leads_nowhere_is_said() -> None:
    frame = Frame("http/messages.py", 3, "create", "await send()")
    assert "socket, a stream: 1 frames\n\n1. `create` (http/messages.py:3)" in render(
        "engine", Trail([frame], []), stream=True
    )
    assert "No stack leads there" in render("engine", Trail([], []), stream=False)
