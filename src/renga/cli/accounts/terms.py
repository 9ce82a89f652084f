"""A key's terms as the command line writes them: scopes, tiers, and what may be kept of its requests.

Must never know: the database, or what terms do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer
from msgspec import Struct
from msgspec.structs import replace

from renga.domain.keys import SCOPES, KeyScope, KeyTerms

ScopeOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help=f"What it is good for, of {', '.join(SCOPES)}; may be repeated. `default`: messages, batches, files.",
    ),
]
TierOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--tier", metavar="TIER", help="A tier that it may use, or `all`; may be repeated."),
]
ResponseCacheOption: TypeAlias = Annotated[
    bool | None, typer.Option(help="Whether its requests may be answered from its own stored answers.")
]
ExpiresOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="When it stops working: 2027-01-31, 30d from now, or never."),
]
WorkspaceOption: TypeAlias = Annotated[
    str | None, typer.Option("--workspace", metavar="WORKSPACE", help="Its workspace, by id or name; `none` for none.")
]


class TermOptions(Struct, frozen=True):
    """What was given on the command line; None: nothing."""

    scopes: Sequence[str] | None
    tiers: Sequence[str] | None
    response_cache: bool | None


def change_terms(terms: KeyTerms, options: TermOptions) -> KeyTerms:
    """The terms with these changes.

    Raises: BadParameter for a scope or a tier that there is not.
    """
    if options.scopes is not None:
        terms = replace(terms, scopes=tuple(_parse_scopes(options.scopes)))
    if options.tiers is not None:
        terms = replace(terms, tiers=tuple(_parse_tiers(options.tiers)))
    if options.response_cache is not None:
        terms = replace(terms, response_cache=options.response_cache)
    return terms


def render_terms(terms: KeyTerms) -> str:
    """The terms in a line; `default` for those of a key that was made without any."""
    parts = [f"scopes={','.join(terms.scopes)}"] if terms.scopes else []
    parts += [f"tiers={','.join(terms.tiers)}"] if terms.tiers else []
    parts += ["response_cache"] if terms.response_cache else []
    return " ".join(parts) or "default"


def _parse_scopes(names: Sequence[str]) -> list[KeyScope]:
    wanted = _split(names)
    for name in wanted:
        if name not in (*SCOPES, "default"):
            raise typer.BadParameter(f"{name!r} is no scope; there are {', '.join(SCOPES)}", param_hint="--scope")
    return [] if "default" in wanted else [scope for scope in SCOPES if scope in wanted]


def _parse_tiers(names: Sequence[str]) -> list[str]:
    from renga.routing.catalog.catalog import TIERS

    wanted = _split(names)
    for name in wanted:
        if name not in (*TIERS, "all"):
            raise typer.BadParameter(f"{name!r} is no tier; there are {', '.join(TIERS)}", param_hint="--tier")
    return [] if "all" in wanted else [tier for tier in TIERS if tier in wanted]


def _split(names: Sequence[str]) -> list[str]:
    return [part.strip() for name in names for part in name.split(",") if part.strip()]
