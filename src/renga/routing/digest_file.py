"""JSON files that carry the SHA-256 of their own content, so that an edited or damaged one is refused.

Owns: the digest, and what is checked when such a file is read.
Must never know: what the files say; each kind checks that itself.
Invariant: the digest is taken of the struct with its digest left empty, so it does not depend on how the file is laid
out. In the files the field is called `seal`, as it always was.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from renga.errors import ConfigError


class _Digested(Protocol):
    @property
    def format(self) -> int:
        """The number of the file's format."""
        ...

    @property
    def digest(self) -> str:
        """The SHA-256 of everything else, in hexadecimal."""
        ...


class FileKind(Struct, frozen=True):
    """How errors speak of one kind of file, and which format of it is read."""

    refusal: str
    """How an error begins where the content is not of this kind, as "not a certificate"."""
    format: int
    command: str
    """What writes such a file anew."""


DigestedStruct = TypeVar("DigestedStruct", bound=_Digested)


def add_digest(content: DigestedStruct) -> DigestedStruct:
    """The same content with the digest that belongs to it."""
    assert isinstance(content, Struct)
    bare = msgspec.json.encode(replace(content, digest=""), order="deterministic")
    return replace(content, digest=hashlib.sha256(bare).hexdigest())


def encode_digested(content: _Digested) -> bytes:
    """The content with its digest as JSON, one field a line."""
    return msgspec.json.format(msgspec.json.encode(add_digest(content)), indent=2) + b"\n"


def decode_digested(data: bytes, name: str, kind: type[DigestedStruct], file_kind: FileKind) -> DigestedStruct:
    """Read a file's content.

    Raises: ConfigError naming the file if it is damaged, has another format or was edited.
    """
    hint = f"run `{file_kind.command}` again"
    try:
        content = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file_kind.refusal}: {error}", path=name, hint=hint) from error
    if content.format != file_kind.format:
        raise ConfigError(f"format {content.format} is not {file_kind.format}", path=name, hint=hint)
    if add_digest(content).digest != content.digest:
        raise ConfigError("it was changed after it was written", path=name, hint=hint)
    return content


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises: ConfigError naming the file if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from error
