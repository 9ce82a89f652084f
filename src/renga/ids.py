"""Identifiers in the API's spelling: `msg_`, `req_`, `toolu_`, followed by 24 characters of base 62.

SDKs and Claude Code anchor on these prefixes (messages-api notes, section 2.5), so they are part of the wire.
"""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 24


def _random(length: int) -> str:
    """Base 62 of 8 random bits a character too many, so that the modulo bias is below 2**-40. Cost: about 2 us."""
    number = int.from_bytes(secrets.token_bytes(length), "little")
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(digits)


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
    """A new API key: 43 characters, 256 bits.

    Source: the entropy that NIST SP 800-63B asks of look-up secrets is 112 bits; a key lives longer, so it has more.
    """
    return "sk-renga-" + _random(43)
