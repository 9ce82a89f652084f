"""Kinds of numbers that settings have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

NonNegative: TypeAlias = Annotated[float, Meta(ge=0)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
"""A part of a whole, 0 to 1."""
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
