"""What kind of file some bytes are, and what a file is called.

Must never know: where bytes are kept. Invariant: what a kind's own marks say wins over what a client says of it.
"""

from __future__ import annotations

import mimetypes
import re

from renga.errors import InvalidRequest

_MARKS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
"""How the kinds begin that models can read. Source: WHATWG MIME Sniffing, section 6; ISO 32000-1, section 7.5.2."""

_MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
"""Source: RFC 6838, section 4.2."""
_NO_TYPE = "application/octet-stream"
_TEXT_TYPES = ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml")
_MAX_NAME = 255
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def find_mime_type(head: bytes, declared: str | None, filename: str | None) -> str:
    """The kind of a file: by its first bytes, else as declared, else by its name, else by whether it reads as text."""
    for mark, mime_type in _MARKS:
        if mark.match(head):
            return mime_type
    named = (declared or "").strip().lower()
    if named != _NO_TYPE and _MIME_TYPE.fullmatch(named):
        return named
    guessed = mimetypes.guess_type(filename or "")[0]
    return guessed or ("text/plain" if _reads_as_text(head) else _NO_TYPE)


def is_text(mime_type: str) -> bool:
    """Whether files of this kind are text that a model can read as it is."""
    return mime_type.startswith("text/") or mime_type in _TEXT_TYPES or mime_type.endswith(("+json", "+xml"))


def clean_filename(given: str | None, mime_type: str) -> str:
    """The last part of the name that a client gave, or one that says what kind it is.

    Raises: InvalidRequest if it is no name that a file can have.
    """
    name = (given or "").replace("\\", "/").rpartition("/")[2].strip()
    if name in ("", ".", ".."):
        return "unnamed" + (mimetypes.guess_extension(mime_type) or "")
    if len(name) > _MAX_NAME:
        raise InvalidRequest(f"A name has at most {_MAX_NAME} characters.", path="file.filename")
    if _CONTROLS.search(name) or not _is_unicode(name):
        raise InvalidRequest("A name cannot have control characters.", path="file.filename")
    return name


def _reads_as_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
