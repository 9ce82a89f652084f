"""Identifiers in the API's spelling: `msg_`, `req_`, `toolu_`, followed by 24 characters of base 62.

SDKs and Claude Code anchor on these prefixes (messages-api notes, section 2.5), so they are part of the wire.
"""

from __future__ import annotations

import os

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT_OF_BYTE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_LENGTH = 24


def _random(length: int) -> str:
    """Digits of base 62 from the system's randomness; 5.95 bits each (256 is no multiple of 62). Cost: 0.6 us."""
    return os.urandom(length).translate(_DIGIT_OF_BYTE).decode("ascii")


def message_id() -> str:
    return "msg_01" + _random(_LENGTH - 2)


def request_id() -> str:
    return "req_01" + _random(_LENGTH - 2)


def tool_use_id() -> str:
    return "toolu_01" + _random(_LENGTH - 2)


def key_id() -> str:
    """Names a key without revealing it."""
    return "key_" + _random(12)


def key_secret() -> str:
    """A new API key: 43 digits, 255 bits, so that a plain hash of it cannot be reversed by guessing."""
    return "sk-renga-" + _random(43)
