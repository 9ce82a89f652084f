"""What one check of `renga doctor` found."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Level: TypeAlias = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True):
    """What one check of the doctor found, and what to do about it."""

    level: Level
    subject: str
    detail: str
    remedy: str = ""
