"""The Files resource: `/v1/files` and what is below it.

Owns: forms, queries, pages, and the headers of a download. Must never know: where files are kept.
Invariant: a download is never taken for a page of this server: it is an attachment, and of no other type than it says.

Source: docs/reference/messages-api.md, "Files"; RFC 6266 for the name of a download.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

import msgspec

from renga.clock import to_datetime
from renga.domain.files import FileQuery, FileRow
from renga.domain.owners import Owner
from renga.errors import InvalidRequest, NotFound, PermissionDenied, RequestTooLarge
from renga.files.file_service import FileService, NewFile
from renga.files.intake import Intake
from renga.files.media_types import clean_filename, find_mime_type
from renga.http.exchange.body import read_pieces
from renga.http.exchange.http_exchange import HttpExchange
from renga.http.exchange.multipart import FORM_BYTES, find_boundary, read_form
from renga.http.exchange.query import read_all, read_limit
from renga.http.http_services import HttpServices
from renga.http.route_table import Route
from renga.protocols.resources.files import DeletedFile, FileMetadata, FilePage, decode_cursor, encode_cursor

MAX_IDS: Final = 100
EXPIRY_S: Final = (3_600, 7_776_000)
"""Source of both: docs/reference/messages-api.md, "Files"."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def upload_file(exchange: HttpExchange, parts: HttpServices) -> None:
    """Take a file in, as a form sends it."""
    files, owner = _files(parts), _owner(exchange)
    boundary = find_boundary(exchange.headers.get(b"content-type", b""))
    declared = exchange.headers.get(b"content-length", b"")
    size_bytes = int(declared) if declared.isdigit() and len(declared) < 19 else 0
    max_bytes = files.settings.max_file_bytes
    if size_bytes > max_bytes + FORM_BYTES:
        raise _too_large(max_bytes)
    # Before anything is waited for: who watches for the client to leave would take the pieces.
    pieces = read_pieces(exchange, max_bytes + FORM_BYTES)
    async with files.receive(owner, max(0, size_bytes - FORM_BYTES)) as intake:

        async def write(data: bytes | bytearray) -> None:
            if intake.size_bytes + len(data) > max_bytes:
                raise _too_large(max_bytes)
            await intake.write(data)

        form = await read_form(pieces, boundary, ("expires_in_seconds",), write)
        mime_type = find_mime_type(intake.head, form.file.content_type, form.file.filename)
        _refuse_empty(intake)
        new = NewFile(
            filename=clean_filename(form.file.filename, mime_type),
            mime_type=mime_type,
            expires_in_s=_expiry(form.fields.get("expires_in_seconds")),
        )
        row = await files.add(owner, intake, new)
    await exchange.respond(200, msgspec.json.encode(describe_file(row)))


async def list_files(exchange: HttpExchange, parts: HttpServices) -> None:
    """A page of the files that the key may see, newest first."""
    files, owner = _files(parts), _owner(exchange)
    given = exchange.query()
    ids = read_all(given, "ids")
    pages = [name for name in ("page", "after_id", "before_id") if given.get(name)]
    if ids and (pages or "limit" in given):
        raise InvalidRequest("Cannot be given together with `page` or `limit`.", path="ids")
    if len(pages) > 1:
        raise InvalidRequest(f"Cannot be given together with `{pages[0]}`.", path=pages[1])
    if len(ids) > MAX_IDS:
        raise InvalidRequest(f"At most {MAX_IDS} ids.", path="ids")
    limit = MAX_IDS if ids else read_limit(given)
    query = FileQuery(owner, files.now_us(), limit + 1, file_ids=ids or None)
    if "page" in pages:
        place = decode_cursor(given["page"][-1])
        if place is None:
            raise InvalidRequest("This is not a cursor of a page.", path="page", hint="use `next_page` as it came")
        query = msgspec.structs.replace(query, older_than=place)
    elif "after_id" in pages:
        query = msgspec.structs.replace(query, older_than=await _place(files, owner, given, "after_id"))
    elif "before_id" in pages:
        query = msgspec.structs.replace(query, newer_than=await _place(files, owner, given, "before_id"))
    # No file has a scope: sessions, the only scopes that there are, do not exist here.
    rows = [] if given.get("scope_id") else list(await files.list_page(query))
    await exchange.respond(200, msgspec.json.encode(_render_page(rows, query, limit)))


async def get_file(exchange: HttpExchange, parts: HttpServices) -> None:
    """What is known of a file."""
    row = await _find(exchange, parts)
    await exchange.respond(200, msgspec.json.encode(describe_file(row)))


async def delete_file(exchange: HttpExchange, parts: HttpServices) -> None:
    """Delete a file of the owner's for good."""
    file_id = _file_id(exchange)
    await _files(parts).delete(_owner(exchange), file_id)
    await exchange.respond(200, msgspec.json.encode(DeletedFile(file_id)))


async def download_file(exchange: HttpExchange, parts: HttpServices) -> None:
    """The bytes of a file, where they may be had."""
    row = await _find(exchange, parts)
    if not row.downloadable:
        raise InvalidRequest(
            f"The file {row.file_id} was uploaded, and cannot be downloaded.",
            hint="an operator may allow it: files.downloadable",
            error_code="file_not_downloadable",
        )
    chunks = _files(parts).read(row)
    # The first is read before 200 is promised.
    first = await anext(chunks, b"")
    await exchange.start_stream(
        (
            (b"content-type", row.mime_type.encode("latin-1")),
            (b"content-length", b"%d" % row.size_bytes),
            (b"content-disposition", b"attachment; filename*=UTF-8''" + quote(row.filename, safe="").encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"private, no-store"),
        )
    )
    if exchange.method == "HEAD":
        await exchange.end()
        return
    await exchange.write(first)
    async for chunk in chunks:
        await exchange.write(chunk)
    await exchange.end()


def describe_file(row: FileRow) -> FileMetadata:
    """A file as the API shows it."""
    return FileMetadata(
        id=row.file_id,
        filename=row.filename,
        mime_type=row.mime_type,
        size_bytes=row.size_bytes,
        created_at=to_datetime(row.created_us),
        downloadable=row.downloadable,
        expires_at=None if row.expires_us is None else to_datetime(row.expires_us),
    )


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/files", upload_file, scope="files"),
    Route("GET", "/v1/files", list_files, scope="files"),
    Route("GET", "/v1/files/{file_id}", get_file, scope="files"),
    Route("DELETE", "/v1/files/{file_id}", delete_file, scope="files"),
    Route("GET", "/v1/files/{file_id}/content", download_file, scope="files"),
)


def _files(parts: HttpServices) -> FileService:
    if parts.files is None:
        raise NotFound("This server keeps no files.", hint="files.enabled turns them on")
    return parts.files


def _owner(exchange: HttpExchange) -> Owner:
    """Whose files the request is about.

    Raises: PermissionDenied if it asks for another workspace than its key's.
    """
    identity = exchange.identity
    asked = exchange.headers.get(b"anthropic-workspace-id")
    if asked and identity.workspace_id is not None and asked.decode("latin-1") != identity.workspace_id:
        raise PermissionDenied("The key belongs to another workspace than anthropic-workspace-id says.")
    return identity.owner


def _file_id(exchange: HttpExchange) -> str:
    file_id = exchange.parameters["file_id"]
    if not _ID.fullmatch(file_id):
        raise NotFound("There is no such file.", hint="GET /v1/files lists those of your key")
    return file_id


async def _find(exchange: HttpExchange, parts: HttpServices) -> FileRow:
    return await _files(parts).find(_owner(exchange), _file_id(exchange))


async def _place(files: FileService, owner: Owner, given: dict[str, list[str]], name: str) -> tuple[int, str]:
    file_id = given[name][-1]
    try:
        row = await files.find(owner, file_id if _ID.fullmatch(file_id) else "-")
    except NotFound as error:
        raise InvalidRequest("There is no such file.", path=name) from error
    return row.created_us, row.file_id


def _render_page(rows: list[FileRow], query: FileQuery, limit: int) -> FilePage:
    """A page of at most `limit`; `rows` has one more where there are more."""
    has_more = len(rows) > limit
    rows = rows[:limit] if query.newer_than is None else rows[-limit:]
    last = rows[-1] if rows else None
    follows = has_more and query.newer_than is None and last is not None
    return FilePage(
        data=tuple(map(describe_file, rows)),
        next_page=encode_cursor(last.created_us, last.file_id) if follows and last is not None else None,
        has_more=has_more,
        first_id=rows[0].file_id if rows else None,
        last_id=last.file_id if last is not None else None,
    )


def _expiry(given: str | None) -> int | None:
    if given is None:
        return None
    shortest, longest = EXPIRY_S
    if not given.isdecimal() or len(given) > 9 or not shortest <= int(given) <= longest:
        raise InvalidRequest(f"Must be a number from {shortest} to {longest}.", path="expires_in_seconds")
    return int(given)


def _refuse_empty(intake: Intake) -> None:
    if intake.size_bytes == 0:
        raise InvalidRequest("The file is empty.", path="file")


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"A file has at most {max_bytes} bytes.", path="file")
