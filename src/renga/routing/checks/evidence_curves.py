"""What a target's evidence is worth: curves fitted on outcomes, and their file.

Owns: the file's format and its seal, the fit, the curves that ship for the embedded model.
Must never know: requests, thresholds.
Invariants: a file that was changed or damaged is refused; a curve is for the target that it was fitted on, and for no
other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from renga.errors import ConfigError
from renga.routing.checks.answer_checks import CheckName
from renga.routing.checks.calibration import Curve, calibration_error, fit_curve
from renga.routing.outcomes.outcome_file import Outcomes

FORMAT = 1
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
    """The curves of one target."""

    format: int
    target: str
    """As `local/hokku`."""
    data_sha256: str
    curves: dict[CheckName, FittedCurve]
    created_on: str = ""
    seal: str = ""


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
    return _seal(CurveFile(FORMAT, target, outcomes.data_sha256, curves, created_on))


def encode_curves(file: CurveFile) -> bytes:
    """A sealed file as JSON."""
    return msgspec.json.format(msgspec.json.encode(_seal(file)), indent=2) + b"\n"


def decode_curves(data: bytes, name: str) -> Mapping[str, Mapping[CheckName, Curve]]:
    """The curves of a file, by target.

    Raises: ConfigError naming the file if it is damaged or was edited.
    """
    try:
        file = msgspec.json.decode(data, type=CurveFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"no curves: {error}", path=name, hint="run `renga route curves` again") from error
    if file.format != FORMAT:
        raise ConfigError(f"format {file.format} is not {FORMAT}", path=name, hint="run `renga route curves` again")
    if _seal(file).seal != file.seal:
        raise ConfigError("it was changed after it was written", path=name, hint="run `renga route curves` again")
    return {file.target: {check: fitted.curve for check, fitted in file.curves.items()}}


def load_curves(path: Path) -> Mapping[str, Mapping[CheckName, Curve]]:
    """Read a file of curves.

    Raises: ConfigError naming it if it cannot be read or is broken.
    """
    try:
        return decode_curves(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from error


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


def _seal(file: CurveFile) -> CurveFile:
    bare = msgspec.json.encode(replace(file, seal=""), order="deterministic")
    return replace(file, seal=hashlib.sha256(bare).hexdigest())
