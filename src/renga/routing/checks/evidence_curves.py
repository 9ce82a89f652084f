"""What a target's evidence is worth: curves fitted on outcomes, and their file.

Owns: the file's format, the fit, the curves that ship for the embedded model.
Must never know: requests, thresholds.
Invariants: a file that was changed or damaged is refused; a curve is for the target that it was fitted on, and for no
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from msgspec import Struct, field

from renga.errors import ConfigError
from renga.routing.checks.answer_checks import CheckName
from renga.routing.checks.calibration import Curve, calibration_error, fit_curve
from renga.routing.digest_file import FileKind, add_digest, decode_digested, encode_digested, read_bytes
from renga.routing.outcomes.outcome_file import Outcomes

FORMAT = 1
_KIND = FileKind("no curves", FORMAT, "renga route curves")
ROWS_MIN = 200
"""Fewer labels make a curve that is wrong by 0.1 somewhere."""
SHIPPED = "hokku/curves.json"

_EVIDENCE: tuple[tuple[CheckName, str], ...] = (("logprob", "mean_logprob"), ("agreement", "agreement"))
"""Which evidence of an outcome each check looks at."""


class FittedCurve(Struct, frozen=True, forbid_unknown_fields=True):
    """A curve and how good it is."""

    curve: Curve
    rows: int
    error: float
    """Expected calibration error on the rows that it was not fitted on, mean of five folds."""


class CurveFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a file with the calibration curves of one target."""

    format: int
    target: str
    """As `local/hokku`."""
    data_sha256: str
    curves: dict[CheckName, FittedCurve]
    created_on: str = ""
    digest: str = field(default="", name="seal")


def fit_curves(outcomes: Outcomes, small: str, target: str, created_on: str = "") -> CurveFile:
    """Fit what the evidence of `small`'s answers is worth, on outcomes that score them.

    Raises: ConfigError if no evidence is in enough rows.
    """
    curves: dict[CheckName, FittedCurve] = {}
    for check, name in _EVIDENCE:
        pairs = [
            (getattr(row.evidence, name), row.scores[small])
            for row in outcomes.rows
            if getattr(row.evidence, name) is not None
        ]
        if len(pairs) >= ROWS_MIN:
            evidence, labels = (np.asarray(column, np.float64) for column in zip(*pairs, strict=True))
            curves[check] = FittedCurve(fit_curve(evidence, labels), len(pairs), _cross_error(evidence, labels))
    if not curves:
        raise ConfigError(
            f"no evidence is in at least {ROWS_MIN} rows",
            path=outcomes.name or None,
            hint="rows need evidence.mean_logprob or evidence.agreement",
        )
    return add_digest(CurveFile(FORMAT, target, outcomes.data_sha256, curves, created_on))


def encode_curves(file: CurveFile) -> bytes:
    """A file of curves with its digest, as JSON."""
    return encode_digested(file)


def decode_curves(data: bytes, name: str) -> Mapping[str, Mapping[CheckName, Curve]]:
    """The curves of a file, by target.

    Raises: ConfigError naming the file if it is damaged or was edited.
    """
    file = decode_digested(data, name, CurveFile, _KIND)
    return {file.target: {check: fitted.curve for check, fitted in file.curves.items()}}


def load_curves(path: Path) -> Mapping[str, Mapping[CheckName, Curve]]:
    """Read a file of curves.

    Raises: ConfigError naming it if it cannot be read or is broken.
    """
    return decode_curves(read_bytes(path), str(path))


@cache
def shipped_curves() -> Mapping[str, Mapping[CheckName, Curve]]:
    """Those of the embedded model; none where it ships without."""
    file = files("renga.models.weights") / SHIPPED
    return decode_curves(file.read_bytes(), SHIPPED) if file.is_file() else {}


def _cross_error(evidence: np.ndarray, labels: np.ndarray, folds: int = 5) -> float:
    """The calibration error of rows under a curve that has not seen them."""
    fold = np.random.default_rng(0).permutation(len(labels)) % folds
    probabilities = np.empty(len(labels))
    for number in range(folds):
        curve = fit_curve(evidence[fold != number], labels[fold != number])
        held_out = np.flatnonzero(fold == number)
        probabilities[held_out] = [curve.probability(float(value)) for value in evidence[held_out]]
    return calibration_error(probabilities, labels)
