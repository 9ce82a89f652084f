"""Files that a request names, put where they are named: what leaves here names none, so that any target can read it.

Owns: which kinds of files may stand in which block, and writing them into the request and into its bytes alike.
Must never know: which target reads it; whether it reads PDFs or images is asked of its capabilities afterwards.
Invariants: a name that is not the owner's is a 404, and never reaches an upstream, where it could be another's file;
the request and the raw bytes say the same; bytes of the request that name no file stay as they are.

Source: docs/reference/messages-api.md, "Content blocks in a request" and "What this server does"; the API's file
document is PDF or text, its image one of four.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Struct

from renga.domain.files import FileRow
from renga.domain.owners import Owner
from renga.errors import InvalidRequest, NotFound, RequestTooLarge
from renga.files.file_service import FileService
from renga.files.media_types import is_text
from renga.protocols.messages import blocks
from renga.protocols.messages.inference_request import InferenceRequest
from renga.protocols.messages.request import MessageRequest

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF = "application/pdf"
_NAMELESS = frozenset({blocks.TextBlock, blocks.ThinkingBlock, blocks.RedactedThinkingBlock, blocks.ToolUseBlock})
"""Blocks that are passed over at once: most are of these."""

Path: TypeAlias = tuple[str | int, ...]
Source: TypeAlias = blocks.Base64Source | blocks.PlainTextSource


class FileReference(Struct, frozen=True):
    """A source that names a file."""

    path: Path
    """Of the source in the request."""
    block: Literal["image", "document"]
    file_id: str

    @property
    def place(self) -> str:
        """The path as an error names it."""
        return ".".join(map(str, (*self.path, "file_id")))


class _NestedSource(Struct, frozen=True):
    type: str = ""
    file_id: str = ""


class _Nested(Struct, frozen=True):
    """As much as matters of a block inside a document's content, which is decoded no further elsewhere."""

    type: str
    source: _NestedSource | str = ""


class FileInliner:
    """Puts the content of files into requests."""

    def __init__(self, files: FileService) -> None:
        self._files = files
        self._max_bytes = files.settings.max_inline_bytes

    async def resolve(self, request: InferenceRequest) -> InferenceRequest:
        """Replace `file_id` sources by what they name. A request without one comes back as it is, in microseconds.

        Raises: NotFound, InvalidRequest or RequestTooLarge, naming the field.
        """
        references = list(find_references(request.message))
        if not references:
            return request
        rows = await self._find_rows(references, request.caller.owner)
        total_bytes = sum(rows[reference.file_id].size_bytes for reference in references)
        if total_bytes > self._max_bytes:
            raise RequestTooLarge(
                f"The files of this request have {total_bytes} bytes together; {self._max_bytes} may be.",
                path=references[0].place,
            )
        return await asyncio.to_thread(self._replace, request, references, rows)

    async def _find_rows(self, references: Sequence[FileReference], owner: Owner) -> dict[str, FileRow]:
        rows: dict[str, FileRow] = {}
        for reference in references:
            if reference.file_id not in rows:
                try:
                    rows[reference.file_id] = await self._files.find(owner, reference.file_id[:64])
                except NotFound as error:
                    raise NotFound(
                        error.message, path=reference.place, hint=error.hint, error_code=error.error_code
                    ) from None
            _check_kind(reference, rows[reference.file_id])
        return rows

    def _replace(
        self, request: InferenceRequest, references: Sequence[FileReference], rows: Mapping[str, FileRow]
    ) -> InferenceRequest:
        contents = {file_id: self._files.read_whole(row) for file_id, row in rows.items()}
        edits: dict[Path, Source] = {
            reference.path: _render_source(reference, rows[reference.file_id], contents[reference.file_id])
            for reference in references
        }
        message = request.message
        for path, source in edits.items():
            message = _replace_value(message, path, source)
        encoded = {path: msgspec.json.encode(source) for path, source in edits.items()}
        return request.with_body(message, replace_raw(request.body, encoded))


def find_references(request: MessageRequest) -> Iterator[FileReference]:
    """Every source that names a file.

    Raises: InvalidRequest for a container upload: nothing here runs containers.
    Cost: 0.15 us a turn or block.
    """
    for turn_index, turn in enumerate(request.messages):
        if isinstance(turn.content, str):
            continue
        for index, block in enumerate(turn.content):
            if type(block) in _NAMELESS:
                continue
            path = ("messages", turn_index, "content", index)
            if isinstance(block, blocks.ToolResultBlock) and isinstance(block.content, tuple):
                for part_index, part in enumerate(block.content):
                    yield from _references_of(part, (*path, "content", part_index))
            else:
                yield from _references_of(block, path)


def replace_raw(raw: bytes, edits: Mapping[Path, bytes]) -> bytes:
    """The same JSON with other values at some paths. Only what is on the way to them is written anew."""
    if () in edits:
        return edits[()]
    inner: dict[str | int, dict[Path, bytes]] = {}
    for path, value in edits.items():
        inner.setdefault(path[0], {})[path[1:]] = value
    if isinstance(next(iter(inner)), str):
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        for name, below in inner.items():
            fields[cast(str, name)] = msgspec.Raw(replace_raw(bytes(fields[cast(str, name)]), below))
        return msgspec.json.encode(fields)
    items = msgspec.json.decode(raw, type=list[msgspec.Raw])
    for index, below in inner.items():
        items[cast(int, index)] = msgspec.Raw(replace_raw(bytes(items[cast(int, index)]), below))
    return msgspec.json.encode(items)


def _references_of(block: blocks.InputBlock | blocks.ToolResultPart, path: Path) -> Iterator[FileReference]:
    match block:
        case blocks.ImageBlock(source=blocks.FileSource(file_id=file_id)):
            yield FileReference((*path, "source"), "image", file_id)
        case blocks.DocumentBlock(source=blocks.FileSource(file_id=file_id)):
            yield FileReference((*path, "source"), "document", file_id)
        case blocks.DocumentBlock(source=blocks.ContentSource(content=tuple() as raws)):
            for index, nested in enumerate(raws):
                yield from _nested_reference(nested, (*path, "source", "content", index))
        case blocks.ContainerUploadBlock():
            raise InvalidRequest(
                "Files cannot be put into a container: nothing here runs one.",
                path=".".join(map(str, path)),
                hint="name the file in a document or image block",
            )
        case _:
            return


def _nested_reference(raw: msgspec.Raw, path: Path) -> Iterator[FileReference]:
    try:
        nested = msgspec.json.decode(raw, type=_Nested)
    except msgspec.MsgspecError:
        return  # whoever reads the block says what is wrong with it
    if isinstance(nested.source, _NestedSource) and nested.source.type == "file":
        yield FileReference(
            (*path, "source"), "document" if nested.type == "document" else "image", nested.source.file_id
        )


def _check_kind(reference: FileReference, row: FileRow) -> None:
    if reference.block == "image" and row.mime_type not in _IMAGES:
        raise InvalidRequest(f"The file is {row.mime_type}; an image is JPEG, PNG, GIF or WebP.", path=reference.place)
    if reference.block == "document" and row.mime_type != _PDF and not is_text(row.mime_type):
        raise InvalidRequest(
            f"The file is {row.mime_type}; a document is a PDF or text.",
            path=reference.place,
            hint="an image goes into an image block" if row.mime_type in _IMAGES else None,
        )


def _render_source(reference: FileReference, row: FileRow, content: bytes) -> Source:
    if reference.block == "image" or row.mime_type == _PDF:
        return blocks.Base64Source(row.mime_type, b64encode(content).decode("ascii"))
    try:
        return blocks.PlainTextSource(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"The file is {row.mime_type}, and not UTF-8.", path=reference.place, hint="upload it as UTF-8"
        ) from None


def _replace_value(value: Any, path: Path, source: Source) -> Any:
    """The same value with another source at a path. Every step is a field of a struct or a place in a tuple."""
    if isinstance(value, msgspec.Raw):
        return msgspec.Raw(replace_raw(bytes(value), {path: msgspec.json.encode(source)}))
    if not path:
        return source
    step, below = path[0], path[1:]
    if isinstance(step, int):
        return (*value[:step], _replace_value(value[step], below, source), *value[step + 1 :])
    return msgspec.structs.replace(value, **{step: _replace_value(getattr(value, step), below, source)})
