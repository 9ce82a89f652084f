"""Changing the model of a request without touching another byte of it.

Owns: finding the value of the top-level `model`. Must never know: why it is changed.
Invariants: everything but that value stays byte for byte, unknown fields and white space included; where a body names
`model` twice at its top level, in whatever spelling, every one of them is changed, so that no parser downstream can
read another model than the one that was asked for and paid.
"""

from __future__ import annotations

import re

import msgspec

from renga.errors import InvalidRequest

_KEY = b'"model"'
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_SCALAR = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^,}\]\s]+', re.DOTALL)


def replace_model(raw: bytes, model: str) -> bytes:
    """The same JSON object with another top-level `model`.

    Units:  raw is an object that has been decoded before, with a string `model`.
    Raises: InvalidRequest if there is no such `model`.
    Cost:   1 us and a memory scan for a body that spells "model" once; 0.3 us a string or bracket otherwise.
    """
    value = msgspec.json.encode(model)
    at = raw.find(_KEY)
    # A look for a backslash takes a third of the time of one for the escape.
    if at >= 0 and raw.find(_KEY, at + 1) < 0 and (b"\\" not in raw or b"\\u006" not in raw):
        # The top-level key is spelled out, or it would need an escape of m, o, d, e or l, all of them \u006x. It is
        # spelled once, so this is it, and the next string is its value.
        start = raw.find(b'"', at + len(_KEY))
        end = raw.find(b'"', start + 1) + 1
        current = raw[start:end]
        if b"\\" not in current and raw[at + len(_KEY) : start].strip() == b":":
            return raw if current == value else b"".join((raw[:start], value, raw[end:]))
    return _replace_scanning(raw, value)


def _replace_scanning(raw: bytes, value: bytes) -> bytes:
    """The same, for any JSON object: walk its strings and brackets, and change what stands behind each key `model`."""
    parts: list[bytes] = []
    copied = depth = at = 0
    while (match := _TOKEN.search(raw, at)) is not None:
        at = match.end()
        token = match.group()
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1 and _is_model(token):
            colon = _COLON.match(raw, at)
            scalar = _SCALAR.match(raw, colon.end()) if colon is not None else None
            if scalar is not None:
                parts += (raw[copied : scalar.start()], value)
                copied = at = scalar.end()
    if not parts:
        raise InvalidRequest("Field required.", path="model")
    parts.append(raw[copied:])
    return b"".join(parts)


def _is_model(token: bytes) -> bool:
    return token == b'"model"' or (b"\\" in token and msgspec.json.decode(token) == "model")
