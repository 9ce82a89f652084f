"""Number grammars against arithmetic: the grammar is read as a regular expression, and both must agree."""

from __future__ import annotations

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from renga.models.engine.grammar.number_ranges import write_decimal, write_integer

_PART = re.compile(r'"(?P<literal>[^"]*)"|(?P<set>\[[^]]*\])|(?P<other>\{[^}]*\}|[()|?]| )')


def read(grammar: str) -> re.Pattern[str]:
    """The grammar of a number as a regular expression."""

    def translate(match: re.Match[str]) -> str:
        if match["literal"] is not None:
            return f"(?:{re.escape(match['literal'])})"
        return match["set"] or match["other"].strip()

    return re.compile(_PART.sub(translate, grammar))


_integers = st.integers(-3000, 3000)
_decimals = st.decimals(-200, 200, places=3)


@given(low=st.none() | _integers, high=st.none() | _integers, value=_integers)
def test_integers(low: int | None, high: int | None, value: int) -> None:
    grammar = write_integer(low, high)
    for tried in (value, *(bound + step for bound in (low, high) if bound is not None for step in (-1, 0, 1))):
        fits = (low is None or tried >= low) and (high is None or tried <= high)
        assert bool(grammar and read(grammar).fullmatch(str(tried))) == fits


@given(low=st.none() | _decimals, high=st.none() | _decimals, value=_decimals, trim=st.booleans())
def test_decimals(low: Decimal | None, high: Decimal | None, value: Decimal, trim: bool) -> None:
    grammar = write_decimal(low, high)
    for tried in (value, *(bound for bound in (low, high) if bound is not None)):
        text = f"{tried:f}".rstrip("0").rstrip(".") if trim else f"{tried:f}"
        fits = (low is None or tried >= low) and (high is None or tried <= high)
        allowed = bool(grammar and read(grammar).fullmatch(text))
        assert fits or not allowed
        if fits and trim and tried:
            assert allowed, (grammar, text)
