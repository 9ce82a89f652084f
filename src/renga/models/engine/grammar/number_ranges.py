"""Numbers between bounds, as grammars.

Owns: which digit strings lie in a range of integers or decimals.
Must never know: schemas, strings, objects.
Invariants: every string of a grammar is a JSON number inside the bounds, the bounds included; numbers have at most
`DIGITS` digits before and after the point, so that they end.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

DIGITS = 15
"""A double holds 15 decimal digits exactly (IEEE 754)."""
_HUGE = 10**DIGITS - 1
_NATURAL = f'("0" | [1-9] [0-9]{{0,{DIGITS - 1}}})'
_FRACTION = f"[0-9]{{0,{DIGITS}}}"


def write_integer(low: int | None, high: int | None) -> str:
    """Write the integers from `low` to `high`; None is no bound. An empty range gives an empty text."""
    if low is None and high is None:
        return f'"-"? {_NATURAL}'
    low = -_HUGE if low is None else low
    high = max(_HUGE, low) if high is None else high
    choices: list[str] = []
    if low < 0:
        choices += [f'"-" {part}' for part in _naturals(max(1, -high), -low)]
    if high >= 0:
        choices += _naturals(max(0, low), high)
    return _choose(choices)


def write_decimal(low: Decimal | None, high: Decimal | None) -> str:
    """Write the decimals from `low` to `high`; None is no bound. An empty range gives an empty text."""
    if low is None and high is None:
        return f'"-"? {_NATURAL} ("." [0-9] {_FRACTION})?'
    low = Decimal(-_HUGE) if low is None else low
    high = max(Decimal(_HUGE), low) if high is None else high
    choices: list[str] = []
    if low < 0:
        choices += [f'"-" {part}' for part in _positive_decimals(max(Decimal(0), -high), -low)]
    if high >= 0:
        choices += _positive_decimals(max(Decimal(0), low), high)
    return _choose(choices)


def _choose(choices: list[str]) -> str:
    return f"({' | '.join(choices)})" if choices else ""


def _naturals(low: int, high: int) -> list[str]:
    """List the forms of the natural numbers from `low` to `high`: one for each run that shares all digits but the
    last ones, which are free, and the one before them, which has a range.
    """
    forms: list[str] = []
    while low <= high:
        power = _free_power(low, high)
        if high >= _HUGE and low == power:  # all longer numbers at once
            return [*forms, f"[1-9] [0-9]{{{len(str(power)) - 1},{DIGITS - 1}}}"]
        digit = low // power % 10
        count = min(10 - digit, (high - low + 1) // power)
        last = low + power * count - 1
        forms.append(_form(str(low // power), str(last // power), len(str(power)) - 1))
        low = last + 1
    return forms


def _free_power(low: int, high: int) -> int:
    """The largest power of ten whose digits are free in a run from `low`: it divides `low` and fits below `high`."""
    power = 1
    while low and low % (power * 10) == 0 and low + power * 10 - 1 <= high:
        power *= 10
    return power


def _form(first: str, last: str, free: int) -> str:
    """Write numbers whose leading digits run from `first` to `last`, which differ in the last digit only."""
    head = f'"{first[:-1]}" ' if first[:-1] else ""
    digit = f"[{first[-1]}-{last[-1]}]" if first != last else f'"{first[-1]}"'
    return head + digit + (f" [0-9]{{{free}}}" if free else "")


def _positive_decimals(low: Decimal, high: Decimal) -> list[str]:
    """List the forms of the decimals from `low` to `high`, both at least 0: by whole part, the first and last apart."""
    if low > high:
        return []
    first, last = (int(bound.to_integral_value(ROUND_FLOOR)) for bound in (low, high))
    least, most = _digits_after(low), _digits_after(high)
    if first == last:
        return [f'"{first}" {fraction}' for fraction in _fractions_between(least, most)]
    forms = [f'"{first}" {fraction}' for fraction in _fractions_between(least, None)]
    wholes = _naturals(first + 1, last if last == _HUGE else last - 1)
    forms += [f'{whole} ("." [0-9] {_FRACTION})?' for whole in wholes]
    if last == _HUGE:
        return forms
    return forms + [f'"{last}" {fraction}' for fraction in _fractions_between("", most)]


def _digits_after(value: Decimal) -> str:
    """The digits after the point, without trailing zeros."""
    return f"{value:f}".partition(".")[2].rstrip("0")


def _fractions_between(least: str, most: str | None) -> list[str]:
    """List the forms of what may follow the whole part: a fraction from 0.`least` to 0.`most`; None is no upper bound.

    The digits that both share come first; where they part, one digit decides and the rest is free.
    """
    if most is None:
        return _fractions_from(least)
    if not most:
        return [] if least else ['""']
    shared = 0
    least = least.ljust(len(most), "0")
    while shared < len(most) and least[shared] == most[shared]:
        shared += 1
    forms = ['""'] if not least.strip("0") else []
    if shared == len(most):  # least is not below most: only the value itself, if that
        return [*forms, f'".{most}"'] if not least[shared:].strip("0") else []
    if least[shared] > most[shared]:
        return []
    low, high = int(least[shared]), int(most[shared])
    head = f'".{most[:shared]}" ' if shared else '"." '
    if high - low > 1:
        forms.append(f"{head}[{low + 1}-{high - 1}] {_FRACTION}")
    forms += [f'".{most[:shared]}{low}{tail}' for tail in _tails_from(least[shared + 1 :])]
    return forms + [f'".{most[:shared]}{high}{tail}' for tail in _tails_to(most[shared + 1 :])]


def _fractions_from(least: str) -> list[str]:
    """List the forms of a fraction of at least 0.`least`."""
    if not least:
        return [f'("." [0-9] {_FRACTION})?']
    return [f'".{tail}' for tail in _tails_from(least)]


def _tails_from(least: str) -> list[str]:
    """List the ends of a literal, its closing quote included, whose digits are at least `least`."""
    least = least.rstrip("0")
    tails = [f'{least}" {_FRACTION}']
    for index, digit in enumerate(least):
        if digit != "9":
            tails.append(f'{least[:index]}" [{int(digit) + 1}-9] {_FRACTION}')
    return tails


def _tails_to(most: str) -> list[str]:
    """List the ends of a literal, its closing quote included, whose digits are at most `most`."""
    tails = [f'{most[:length]}"' for length in range(len(most) + 1)]
    for index, digit in enumerate(most):
        if digit != "0":
            tails.append(f'{most[:index]}" [0-{int(digit) - 1}] {_FRACTION}')
    return tails
