"""Multipart forms with one file, read as they come.

Owns: which fields a form may have. Must never know: where the file goes.
Invariants: nothing but the file is longer than `_FIELD_BYTES`; a form with anything unknown, doubled or missing is
refused.

Source: RFC 7578; the parser is `multipart`, in its strict mode.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from renga.errors import InvalidRequest, RequestTooLarge

if TYPE_CHECKING:
    from multipart import MultipartSegment

FORM_BYTES = 64 * 1024
"""What a form may have around its file."""
_FIELD_BYTES = 1024
_PARTS = 8
_HEADER_BYTES = 4096


class FormFile(Struct, frozen=True):
    """What a form says of its file."""

    filename: str | None
    content_type: str | None


class Form(Struct, frozen=True):
    """A form that has come whole."""

    file: FormFile
    fields: dict[str, str]


def find_boundary(content_type: bytes) -> str:
    """The boundary that a form's Content-Type names.

    Raises: InvalidRequest if it is no form.
    """
    import multipart

    parse = cast("Callable[[str], tuple[str, dict[str, str]]]", cast("Any", multipart).parse_options_header)
    kind, options = parse(content_type.decode("latin-1"))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise InvalidRequest(
            "A file comes as multipart/form-data with a boundary.", hint="curl -F file=@NAME, or an SDK's files.upload"
        )
    return boundary


async def read_form(
    pieces: AsyncIterator[bytes],
    boundary: str,
    known: tuple[str, ...],
    write: Callable[[bytes | bytearray], Awaitable[None]],
) -> Form:
    """Read a form: the file's bytes go to `write`, the other fields into the result.

    Raises: InvalidRequest; RequestTooLarge for a field that is longer than any should be.
    """
    from multipart import MultipartError, PushMultipartParser

    reading = _FormReader(known)
    parser = PushMultipartParser(
        boundary, max_segment_count=_PARTS, max_header_size=_HEADER_BYTES, header_charset="utf8", strict=True
    )
    try:
        async for piece in pieces:
            for event in parser.parse(piece) if piece else ():
                data = reading.take(event)
                if data:
                    await write(data)
        parser.close()
    except MultipartError as error:
        raise InvalidRequest(f"The form cannot be read: {error}.") from None
    return reading.finish()


class _FormReader:
    """Where in a form the reader is."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known
        self._file: FormFile | None = None
        self._fields: dict[str, bytearray] = {}
        self._current: bytearray | None = None
        """The field that is being read; None while it is the file."""

    def take(self, event: MultipartSegment | bytearray | bytes | None) -> bytes | bytearray | None:
        """One event of the parser. Returns bytes of the file."""
        if event is None:
            return None
        if isinstance(event, bytes | bytearray):
            if self._current is None:
                return event
            self._current += event
            if len(self._current) > _FIELD_BYTES:
                raise RequestTooLarge(f"A field of the form is longer than {_FIELD_BYTES} bytes.")
            return None
        self._begin(event)
        return None

    def finish(self) -> Form:
        if self._file is None:
            raise InvalidRequest("Field required.", path="file")
        try:
            return Form(self._file, {name: bytes(value).decode("utf-8") for name, value in self._fields.items()})
        except UnicodeDecodeError:
            raise InvalidRequest("A field of the form is not UTF-8.") from None

    def _begin(self, segment: MultipartSegment) -> None:
        name = segment.name or ""
        if name == "file" and self._file is None:
            self._file = FormFile(segment.filename, segment.content_type)
            self._current = None
        elif name == "file" or name in self._fields:
            raise InvalidRequest("Given twice.", path=name)
        elif name in self._known:
            self._current = self._fields[name] = bytearray()
        else:
            raise InvalidRequest("Extra inputs are not permitted.", path=name[:100] or None)
