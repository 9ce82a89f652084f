"""Values as they stand in headers.

Owns: their spelling. Must never know: which headers there are.
"""

from __future__ import annotations

from functools import lru_cache

_NANO = 1_000_000_000


def render_usd(nano_usd: int) -> bytes:
    """Render nano-dollars as a decimal number of dollars without rounding."""
    dollars, nano = divmod(nano_usd, _NANO)
    return b"%d.%09d" % (dollars, nano)


@lru_cache(maxsize=512)
def header_value(text: str) -> bytes:
    """A text as a header's value. Names of models may come from clients, and a line feed would end the header."""
    return bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in text.encode("ascii", "replace"))
