"""Outcomes: what each tier's answer to a request was worth. The file that calibration reads, one JSON object a line.

Owns: the rows' types, the reader and its errors.
Must never know: thresholds, bounds, how a score was given.
Invariants: every row that is returned has a score for each asked model; every refusal names the file and the line.

    {"id": "a1", "scores": {"haiku": 1, "opus": 1}, "evidence": {"agreement": 1, "mean_logprob": -0.12}}
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from renga.errors import ConfigError

ROWS_MIN = 100
"""Below this no floor of 2 points can be proven at 90 %, whatever the scores are: 0.98^100 = 0.13."""

Floats = NDArray[np.float64]


class RequestSignals(Struct, frozen=True, forbid_unknown_fields=True):
    """What was known when the request was kept or handed on."""

    confidence: float | None = None
    """That the small tier's answer is good enough, 0..1: the verdict of `routing/checks/answer_checks.py`."""
    agreement: float | None = None
    """Of a second cheap answer with the first, 0..1."""
    mean_logprob: float | None = None
    """Natural logarithm, mean over the answer's tokens."""
    triage: float | None = None
    """The score before generation, `routing/triage/scorer.py`; higher is harder."""


class RequestShape(Struct, frozen=True, forbid_unknown_fields=True):
    """The request's shape, for heads that are fitted on outcomes; all optional."""

    tools: int = 0
    schema: bool = False
    images: int = 0
    turns: int = 1
    input_tokens: int | None = None
    """Not read: the prompt's own length is seen."""


class OutcomeRow(Struct, frozen=True, forbid_unknown_fields=True):
    """One request and what each model's answer was worth."""

    id: str
    scores: dict[str, float]
    """Per model or tier, 0 (worthless) to 1 (as good as can be)."""
    prompt: str | None = None
    shape: RequestShape = RequestShape()
    group: str = ""
    """The key or route it came from; "" where there is only one."""
    evidence: RequestSignals = RequestSignals()
    costs_nano_usd: dict[str, int] = {}
    """Per model; without them calls are counted."""
    check_nano_usd: int = 0
    """What verifying cost: a second answer, a judge."""
    output_tokens: dict[str, int] = {}
    propensity: float = 1.0
    """The probability with which the request was chosen to be labelled."""


class ParsedOutcomes(Struct, frozen=True):
    """What an outcomes file must hold: a score for each of these models, and enough rows."""

    models: tuple[str, ...]
    """Models that each row must have a score for, the small tier first."""
    rows_min: int = ROWS_MIN


class Outcomes(Struct, frozen=True):
    """Rows that can be trusted, and the hash of the file they came from."""

    rows: tuple[OutcomeRow, ...]
    data_sha256: str
    name: str = ""
    """Of the file, for errors."""

    def losses(self, small: str, top: str) -> Floats:
        """Per row, how much worse the small tier's answer was: -1..1."""
        return np.asarray([row.scores[top] - row.scores[small] for row in self.rows], np.float64)

    def groups(self) -> dict[str, Outcomes]:
        """The rows of each group, under the whole file's hash."""
        by_group: dict[str, list[OutcomeRow]] = {}
        for row in self.rows:
            by_group.setdefault(row.group, []).append(row)
        return {name: Outcomes(tuple(rows), self.data_sha256, self.name) for name, rows in by_group.items()}


_decode_row = msgspec.json.Decoder(OutcomeRow).decode


def read_outcomes(path: Path, reading: ParsedOutcomes) -> Outcomes:
    """Read and check an outcomes file.

    Raises: ConfigError at the first wrong line (`path` is FILE:LINE), or if the file has too few rows or cannot be
            read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from error
    return decode_outcomes(data, str(path), reading)


def decode_outcomes(data: bytes, name: str, reading: ParsedOutcomes) -> Outcomes:
    """Check the bytes of an outcomes file, as `read_outcomes` does."""
    rows: list[OutcomeRow] = []
    line_by_id: dict[str, int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        row = _decode_line(line, where)
        _check_row(row, where, reading)
        first = line_by_id.setdefault(row.id, number)
        if first != number:
            raise ConfigError(
                f"id `{row.id}` stands on line {first} already", path=where, hint="give each request one line"
            )
        rows.append(row)
    if len(rows) < reading.rows_min:
        raise ConfigError(
            f"{len(rows)} rows are too few, {reading.rows_min} are needed",
            path=name,
            hint="until then everything is escalated; collect more labels",
        )
    return Outcomes(tuple(rows), hashlib.sha256(data).hexdigest(), name)


def encode_outcomes(rows: tuple[OutcomeRow, ...]) -> bytes:
    """Rows as a file that `decode_outcomes` reads."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _decode_line(line: bytes, where: str) -> OutcomeRow:
    try:
        return _decode_row(line)
    except msgspec.ValidationError as error:
        raise ConfigError(f"not an outcome: {error}", path=where) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not JSON: {error}", path=where) from error


def _check_row(row: OutcomeRow, where: str, reading: ParsedOutcomes) -> None:
    missing = [model for model in reading.models if model not in row.scores]
    if missing:
        raise ConfigError(
            f"no score for {', '.join(missing)}", path=where, hint=f"it has: {', '.join(row.scores) or 'none'}"
        )
    for model, score in row.scores.items():
        if not 0.0 <= score <= 1.0:
            raise ConfigError(f"score {score} of {model} is not between 0 and 1", path=where)
    if not 0.0 < row.propensity <= 1.0:
        raise ConfigError(f"propensity {row.propensity} is not above 0 and at most 1", path=where)
    for model, cost in row.costs_nano_usd.items():
        if cost < 0:
            raise ConfigError(f"cost {cost} of {model} is negative", path=where)
    if row.check_nano_usd < 0:
        raise ConfigError(f"check_nano_usd {row.check_nano_usd} is negative", path=where)
    for name in ("confidence", "agreement"):
        value = getattr(row.evidence, name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise ConfigError(f"evidence.{name} {value} is not between 0 and 1", path=where)
    if row.evidence.mean_logprob is not None and not -math.inf < row.evidence.mean_logprob <= 0.0:
        raise ConfigError(
            f"evidence.mean_logprob {row.evidence.mean_logprob} is not a logarithm of a probability", path=where
        )
