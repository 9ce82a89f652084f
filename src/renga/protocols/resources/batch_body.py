"""The body of a create request, taken apart while it comes in.

Owns: finding where each element of `requests` begins and ends.
Must never know: what an element says, where the bytes come from.
Invariants: no more than one element and one piece of the body is held; every byte is looked at once, by the regular
expression engine, so a piece costs about 5 ns a byte; what is no `{"requests": [...]}` is refused.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from renga.errors import InvalidRequest
from renga.protocols.resources.batches import MAX_REQUESTS

_HEAD = re.compile(rb'[\s]*\{\s*"requests"\s*:\s*\[')
_HEAD_BYTES = 4096
_REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_NEXT_MARK = re.compile(rb'["{}\[\]]')
_GAP = re.compile(rb"[ \t\r\n]*")
_TAIL = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*")
_DEPTH_MAX = 500


class _BatchBody(Struct, forbid_unknown_fields=True):
    requests: list[msgspec.Raw]


class RequestSplitter:
    """Feed it the body in any pieces; it gives the elements of `requests` as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._state = "head"
        """head, before (an element or the end), element, after (a comma or the end), tail."""
        self._at: int = 0
        """Where the next look begins."""
        self._depth = 0
        self._in_string = False
        self.count = 0
        """Elements so far."""

    def feed(self, data: bytes) -> list[bytes]:
        """Raises: InvalidRequest as soon as the body cannot be one."""
        self._buffer += data
        found: list[bytes] = []
        if self._state == "head" and not self._read_head():
            return found
        while self._step(found):
            pass
        if self._state == "tail" and len(self._buffer) > _HEAD_BYTES and not _TAIL.fullmatch(self._buffer):
            raise self._malformed("there is more after the end of `requests`")
        return found

    def close(self) -> None:
        """The body is whole.

        Raises: InvalidRequest if it is not.
        """
        if self._state == "head":
            self._refuse_head(bytes(self._buffer))
        if self._state != "tail":
            raise self._malformed("it ends too early")
        if not _TAIL.fullmatch(self._buffer):
            raise self._malformed("there is something else than `}` after the end of `requests`")

    def _read_head(self) -> bool:
        match = _HEAD.match(self._buffer)
        if match is None:
            if len(self._buffer) > _HEAD_BYTES:
                self._refuse_head(bytes(self._buffer))
            return False
        self._drop(match.end())
        self._state = "before"
        return True

    def _step(self, found: list[bytes]) -> bool:
        """Go on as far as one change of state. False when more bytes are needed, or no more are wanted."""
        if self._state == "element":
            return self._walk_element(found)
        if self._state == "tail":
            return False
        match = _GAP.match(self._buffer, self._at)
        assert match is not None  # the pattern takes nothing as well
        self._drop(match.end())
        if not self._buffer:
            return False
        mark = bytes(self._buffer[:1])
        if mark == b"]" and (self._state == "after" or not self.count):
            self._drop(1)
            self._state = "tail"
        elif self._state == "after":
            if mark != b",":
                raise self._malformed(f"a comma is missing after requests.{self.count - 1}")
            self._drop(1)
            self._state = "before"
        elif mark == b"{":
            self._begin_element()
        else:
            raise InvalidRequest("Must be an object with custom_id and params.", path=f"requests.{self.count}")
        return True

    def _begin_element(self) -> None:
        if self.count >= MAX_REQUESTS:
            raise InvalidRequest(f"A batch holds at most {MAX_REQUESTS} requests.", path="requests")
        self._state, self._depth, self._at = "element", 0, 0

    def _walk_element(self, found: list[bytes]) -> bool:
        buffer = self._buffer
        while True:
            if self._in_string:
                match = _REST_OF_STRING.match(buffer, self._at)
                assert match is not None  # the pattern takes nothing as well
                self._at = match.end()
                if self._at >= len(buffer) or buffer[self._at] != 0x22:
                    return False  # the string, or an escape in it, goes on in the next piece
                self._at += 1
                self._in_string = False
            mark = _NEXT_MARK.search(buffer, self._at)
            if mark is None:
                self._at = len(buffer)
                return False
            self._at = mark.end()
            kind = buffer[mark.start()]
            if kind == 0x22:
                self._in_string = True
            elif kind in b"{[":
                self._depth += 1
                if self._depth > _DEPTH_MAX:
                    raise InvalidRequest("Nested too deeply.", path=f"requests.{self.count}")
            else:
                self._depth -= 1
                if self._depth == 0:
                    found.append(bytes(memoryview(buffer)[: self._at]))
                    self._drop(self._at)
                    self._state = "after"
                    self.count += 1
                    return True

    def _drop(self, count: int) -> None:
        # deleting from the front of a bytearray moves nothing: it only notes where it begins
        del self._buffer[:count]
        self._at = 0

    def _refuse_head(self, body: bytes) -> None:
        """Say what is wrong with a body that does not begin as one.

        Raises: InvalidRequest.
        """
        if not body.strip():
            raise InvalidRequest("The request has no body.", hint="send a JSON object with `requests`")
        try:
            msgspec.json.decode(body, type=_BatchBody)
        except msgspec.ValidationError as error:
            what = str(error)
            if named := re.match(r"Object contains unknown field `(.+?)`", what):
                raise InvalidRequest("Extra inputs are not permitted.", path=named[1][:100]) from None
            if "missing required field" in what:
                raise InvalidRequest("Field required.", path="requests") from None
            raise InvalidRequest("Must be a list of objects.", path="requests") from None
        except (msgspec.DecodeError, RecursionError):
            pass
        raise self._malformed('it must be an object that begins with `"requests": [`')

    def _malformed(self, what: str) -> InvalidRequest:
        return InvalidRequest(f"The body is not valid JSON: {what}.")
