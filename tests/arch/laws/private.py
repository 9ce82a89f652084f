"""What no tracked file may say: where packages are fetched from, and where things lie on somebody's machine.

Owns: how such addresses and paths look. A clone is installed from wherever its user's own tools are set up for.
"""

from __future__ import annotations

import re

from tests.arch.laws.checkout import Checkout

REGISTRIES = tuple(
    "".join(halves)
    for halves in (
        ("python", "hosted.org"),
        ("py", "pi.org"),
        ("py", "pi.python.org"),
        ("registry.", "npmjs"),
        ("registry.", "yarnpkg"),
        ("deb.", "debian.org"),
        ("proxy.", "golang.org"),
        ("static.", "crates.io"),
        ("index", "-url"),
        ("index", "_url"),
        ("find", "-links"),
        ("/simple", "/"),
    )
)
"""In halves, so that this file does not break its own law."""

MACHINE = re.compile(
    r"(?<![\w.}/-])/(?:wo" + r"rk|ro" + r"ot|Users/\w+|ho" + r"me/\w+|opt/(?:py" + r"pi|whe" + r"els)[\w-]*)"
    r"(?=[/\s\"'`),:]|$)",
    re.MULTILINE,
)


def find_registries(checkout: Checkout) -> list[str]:
    """Addresses of package registries, and options that name one."""
    return [
        _describe(path, number, word, "leave it to the settings of whoever installs")
        for path in checkout.files
        if any(word in checkout.text(path).lower() for word in REGISTRIES)
        for number, line in enumerate(checkout.text(path).lower().splitlines(), 1)
        for word in REGISTRIES
        if word in line
    ]


def find_machine_paths(checkout: Checkout) -> list[str]:
    """Absolute paths that exist on one machine only."""
    breaches: list[str] = []
    for path in checkout.files:
        text = checkout.text(path)
        for found in MACHINE.finditer(text):
            number = text.count("\n", 0, found.start()) + 1
            breaches.append(_describe(path, number, found[0], "name a path below the checkout, or a setting"))
    return breaches


def _describe(path: str, number: int, what: str, advice: str) -> str:
    return f"{path}:{number}: {what!r} has no place in the repository: {advice}"
