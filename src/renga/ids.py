"""Identifiers in the API's spelling: `msg_`, `req_`, `toolu_`, followed by 24 characters of base 62.

SDKs and Claude Code anchor on these prefixes (docs/reference/messages-api.md, "Claude Code as a client"), so they are
part of the wire.
"""

from __future__ import annotations

import os
import threading

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT_OF_BYTE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_LENGTH = 24
_POOL_DIGITS = 4096


class _Pool:
    """Random digits, fetched from the system in pages: a system call for each id costs 3 us under load.

    A digit is given out once. A forked child would repeat its parent's, so it starts with an empty pool.
    """

    def __init__(self) -> None:
        self._digits = ""
        self._next = 0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._empty)

    def take(self, length: int) -> str:
        """Take the next digits, which nobody else is given."""
        with self._lock:
            start = self._next
            end = start + length
            if end > len(self._digits):
                self._digits = os.urandom(_POOL_DIGITS).translate(_DIGIT_OF_BYTE).decode("ascii")
                start, end = 0, length
            self._next = end
            return self._digits[start:end]

    def _empty(self) -> None:
        self._digits, self._next = "", 0
        self._lock = threading.Lock()


_pool = _Pool()


def _random(length: int) -> str:
    """Digits of base 62 from the system's randomness; 5.95 bits each (256 is no multiple of 62). Cost: 0.2 us."""
    return _pool.take(length)


def message_id() -> str:
    """A new id for an answer, as `message.id` has it."""
    return "msg_01" + _random(_LENGTH - 2)


def request_id() -> str:
    """A new id for a request, which its ledger row and its headers share."""
    return "req_01" + _random(_LENGTH - 2)


def batch_id() -> str:
    """A new id for a batch of requests."""
    return "msgbatch_01" + _random(_LENGTH - 2)


def tool_use_id() -> str:
    """A new id for a model's call of a tool."""
    return "toolu_01" + _random(_LENGTH - 2)


def file_id() -> str:
    """A new id for an uploaded file."""
    return "file_01" + _random(_LENGTH - 2)


def key_id() -> str:
    """Names a key without revealing it."""
    return "key_" + _random(12)


def workspace_id() -> str:
    """A new id for a workspace of an organization."""
    return "wrkspc_01" + _random(_LENGTH - 2)


def key_secret() -> str:
    """A new API key: 43 digits, 255 bits, so that a plain hash of it cannot be reversed by guessing."""
    return "sk-renga-" + os.urandom(43).translate(_DIGIT_OF_BYTE).decode("ascii")
