"""Lines of a batch in files: what is to be asked, what was answered, which batches were made of it.

Owns: the two formats (Anthropic's lines and the OpenAI-style batch file), and what a run that was cut off left behind.
Must never know: servers.
Invariants: an answer is in the output whole or not at all; what is there is never asked again; an error names the line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from renga.errors import InvalidRequest, RengaError
from renga.protocols.openai.batch_file import CHAT_URL, MESSAGES_URL, ChatLine, read_chat_body, render_chat_line
from renga.protocols.resources.batches import BatchRequest

Format: TypeAlias = Literal["anthropic", "openai"]
STATE_ENDING = ".batches"


class RequestLine(Struct, frozen=True):
    """One request of the input file, with its line."""

    custom_id: str
    params: msgspec.Raw
    is_chat: bool = False
    """Whether its answer is to be a chat.completion."""


class MadeBatch(Struct, frozen=True):
    """One batch that a run made."""

    url: str
    """Of its server; "" for one of the command's own."""
    batch_id: str
    custom_ids: tuple[str, ...]


class _Result(Struct, frozen=True):
    type: str


class _Response(Struct, frozen=True):
    status_code: int


class _ResultLine(Struct, frozen=True):
    """The fields of a result that both formats of answers share."""

    custom_id: str
    result: _Result | None = None
    response: _Response | None = None

    @property
    def is_failure(self) -> bool:
        if self.result is not None:
            return self.result.type != "succeeded"
        return self.response is None or self.response.status_code != 200


def read_input(path: Path) -> tuple[Format, list[RequestLine]]:
    """The requests of a file, and its format, which the first line tells.

    Raises: RengaError that names the line.
    """
    format_: Format | None = None
    lines: list[RequestLine] = []
    seen: dict[str, int] = {}
    with path.open("rb") as file:
        for number, data in enumerate(file, 1):
            if not data.strip():
                continue
            kind: Format = (
                "openai" if b'"body"' in data and b'"params"' not in data.partition(b'"body"')[0] else "anthropic"
            )
            format_ = format_ or kind
            try:
                line = _read_chat_line(data) if format_ == "openai" else _read_line(data)
            except (msgspec.MsgspecError, RengaError) as error:
                reason = error.sentence() if isinstance(error, RengaError) else str(error)
                raise RengaError(f"{path}:{number}: {reason}") from None
            if line.custom_id in seen:
                raise RengaError(
                    f"{path}:{number}: custom_id {line.custom_id!r} is also that of line {seen[line.custom_id]}"
                )
            seen[line.custom_id] = number
            lines.append(line)
    if format_ is None:
        raise RengaError(f"{path} has no requests")
    return format_, lines


def _read_line(data: bytes) -> RequestLine:
    request = msgspec.json.decode(data, type=BatchRequest)
    return RequestLine(request.custom_id, request.params)


def _read_chat_line(data: bytes) -> RequestLine:
    chat = msgspec.json.decode(data, type=ChatLine)
    if chat.method != "POST":
        raise InvalidRequest("Must be POST.", path="method")
    if chat.url == MESSAGES_URL:
        return RequestLine(chat.custom_id, chat.body)
    if chat.url != CHAT_URL:
        raise InvalidRequest(f"Must be {CHAT_URL} or {MESSAGES_URL}.", path="url")
    return RequestLine(chat.custom_id, msgspec.Raw(msgspec.json.encode(read_chat_body(bytes(chat.body)))), is_chat=True)


class ResultFile:
    """The file of answers, and beside it the list of the batches that were made for it."""

    def __init__(self, path: Path, format_: Format, lines: Sequence[RequestLine]) -> None:
        self._path = path
        self._state = path.with_name(path.name + STATE_ENDING)
        self._is_openai = format_ == "openai"
        self._chat = {line.custom_id for line in lines if line.is_chat}
        if not path.parent.is_dir():
            raise RengaError(f"{path}: there is no folder {path.parent}", hint="make it, or choose another file")
        self.failed: set[str] = set()
        """Those of the answered whose answer is an error."""
        self.answered = self._read_answered()

    def read_batches(self) -> list[MadeBatch]:
        """The batches that earlier runs made."""
        if not self._state.exists():
            return []
        batches: list[MadeBatch] = []
        for data in self._state.read_bytes().splitlines():
            try:
                batches.append(msgspec.json.decode(data, type=MadeBatch))
            except msgspec.MsgspecError:
                continue  # the last line of a run that was killed: its batch runs, and is asked for once more
        return batches

    def note_batch(self, batch: MadeBatch) -> None:
        """Remember a batch, so that a run that is cut off goes on with it."""
        _append(self._state, [msgspec.json.encode(batch)])

    def write(self, results: Sequence[bytes], batch_id: str) -> int:
        """Append answers that are not there yet; lines of the API. Returns how many.

        Requests that were cancelled or expired are left out: the next run asks for them.
        """
        lines: list[bytes] = []
        for data in results:
            result: dict[str, Any] = msgspec.json.decode(data)
            custom_id: str = result["custom_id"]
            if custom_id in self.answered or result["result"]["type"] in ("canceled", "expired"):
                continue
            self.answered.add(custom_id)
            if result["result"]["type"] != "succeeded":
                self.failed.add(custom_id)
            lines.append(self._render(custom_id, result["result"], batch_id) if self._is_openai else data)
        _append(self._path, lines)
        return len(lines)

    def finish(self) -> None:
        """Close the file of results: every request is answered."""
        self._state.unlink(missing_ok=True)
        self._path.touch()

    def _render(self, custom_id: str, result: dict[str, Any], batch_id: str) -> bytes:
        request_id = f"{batch_id}-{custom_id}"
        if custom_id in self._chat or result["type"] != "succeeded":
            return msgspec.json.encode(render_chat_line(custom_id, result, request_id, created_s=int(time.time())))
        response = {"status_code": 200, "request_id": request_id, "body": result["message"]}
        return msgspec.json.encode({"id": request_id, "custom_id": custom_id, "response": response, "error": None})

    def _read_answered(self) -> set[str]:
        """Which requests are answered; a last line that is not whole goes, so that it can be written again."""
        if not self._path.exists():
            return set()
        answered: set[str] = set()
        whole = 0
        for data in _read_lines(self._path):
            try:
                line = msgspec.json.decode(data, type=_ResultLine)
            except msgspec.MsgspecError:
                if data.endswith(b"\n"):
                    raise RengaError(f"{self._path} has a line that is no answer", hint="choose another file") from None
                break
            answered.add(line.custom_id)
            if line.is_failure:
                self.failed.add(line.custom_id)
            whole += len(data)
        os.truncate(self._path, whole)
        return answered


def _read_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _append(path: Path, lines: Sequence[bytes]) -> None:
    if lines:
        with path.open("ab") as file:
            file.write(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
