"""How the subject of a commit must look, from one commit on.

Owns: where that begins, and how history is asked. What came before stays as it was written.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

BASE = "a6d004bfa4c9cd51b7bc10e0a229acfc49d24623"
"""The last commit that may look otherwise."""

SUBJECT_CHARACTERS_MAX = 72

_SUBJECT = re.compile(r"[a-z][\w./-]*(?:, [a-z][\w./-]*)*: \S")


class HistoryMissing(Exception):
    """There is no history to look at, or it does not go back far enough; the text says which."""


def read_subjects(root: Path, base: str) -> list[tuple[str, str]]:
    """The short hash and the subject of every commit after the base, merges left out.

    Raises: HistoryMissing outside of git, and where the base is not among the ancestors.
    """
    if _git(root, "rev-parse", "--git-dir").returncode != 0:
        raise HistoryMissing("this is no git checkout, so there is no history")
    if _git(root, "merge-base", "--is-ancestor", base, "HEAD").returncode != 0:
        raise HistoryMissing(f"the history does not go back to {base[:7]}: it is shallow, or of another branch")
    log = _git(root, "log", "--no-merges", "--format=%h%x09%s", f"{base}..HEAD")
    return [(line.partition("\t")[0], line.partition("\t")[2]) for line in log.stdout.splitlines()]


def find_bad_subjects(subjects: list[tuple[str, str]]) -> list[str]:
    """Subjects that are too long for a list, or do not begin with the area that they change."""
    breaches: list[str] = []
    for name, subject in subjects:
        if len(subject) > SUBJECT_CHARACTERS_MAX:
            breaches.append(
                f"{name} has a subject of {len(subject)} characters, {SUBJECT_CHARACTERS_MAX} at most: "
                f'say the rest in the body: "{subject}"'
            )
        if not _SUBJECT.match(subject):
            breaches.append(f'{name} has a subject without an area: begin it as in "engine: ...": "{subject}"')
    return breaches


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
