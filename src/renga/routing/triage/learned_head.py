"""The learned head: a linear score over a request's features, and how it is fitted and stored.

Owns: the prior that ships with the package, the fit to a tenant's own labels, the file.
Must never know: models, prices, thresholds (`routing/triage/scorer.py`).
Invariants: a head says which data it was fitted on; a file whose content does not match its own hash is refused; a fit
with few labels stays near the prior.

The prior is two numbers that need no labels: how long the text is, and how rare its words are among questions that are
in no evaluation set. Heads fitted on one distribution and used on another ranked worse than that
(docs/log/routing.md).
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from renga.errors import ConfigError
from renga.routing.outcomes.outcome_file import Outcomes
from renga.routing.triage.features import HASH_BITS, SHAPE, SURFACE, Features, read_labelled

BUCKETS = 1 << HASH_BITS
RARITY_SHARE = 0.5
"""Rarity's weight beside length's, both standardised. The first value that was tried; a quarter and one rank within
0.01."""
BUCKET_PENALTY = 10.0
DENSE_PENALTY = 300.0
BIAS_PENALTY = 1.0
"""L2 penalties on the distance from the prior, in units of one label's evidence. A grid on MMLU-Pro was flat to 0.005
in APGR (docs/log/routing.md)."""
STEPS = 80
STANDARD_DEVIATIONS_MAX = 4.0
FORMAT = 1
FOLDS = 5

Floats = NDArray[np.float64]


class HeadCard(Struct, frozen=True, forbid_unknown_fields=True):
    """What a head's file says of itself."""

    format: int
    rows: int
    """Labels it was fitted on; 0 for the prior."""
    data_sha256: str
    """Of the data file that it was fitted on, or of the text that the prior counted words in."""
    fitted_on: str
    """The date, as 2026-11-21."""
    names: tuple[str, ...]
    """Of the dense features, in their order."""


class LearnedHead(Struct, frozen=True, eq=False):
    """Weights of a linear score. Higher means: more is lost if the small tier answers."""

    card: HeadCard
    information: Floats
    """Per bucket: -log of its share in ordinary text, in nats."""
    buckets: Floats
    """Per bucket: its weight."""
    dense: Floats
    """Per dense feature (SURFACE, SHAPE, rarity, prior): its weight."""
    mean: Floats
    scale: Floats
    bias: float
    sha256: str = ""
    """Of the content of the file that it was read from; "" for one that was not. Certificates name it."""

    def score(self, features: Features) -> float:
        """The expected loss of keeping this request at the small tier, as a logit."""
        row = _dense_row(features, self.information, self.mean, self.scale)
        count = len(features.buckets)
        hashed = float(self.buckets[features.buckets].sum()) / math.sqrt(count) if count else 0.0
        return float(row @ self.dense) + hashed + self.bias


DENSE_NAMES = (*SURFACE, *SHAPE, "rarity", "prior")
_LENGTH = DENSE_NAMES.index("words")
_RARITY = DENSE_NAMES.index("rarity")
_PRIOR = DENSE_NAMES.index("prior")


class HeadComparison(Struct, frozen=True):
    """How often a request that is better handed on gets the higher score of two, on labels not fitted on; 0.5 is
    chance. None where no request, or every one, was.
    """

    own: float | None
    prior: float | None


class LabelledFeatures(Struct, frozen=True, eq=False):
    """What a head is fitted on: features, and for each the paired loss top - small, -1..1."""

    features: Sequence[Features]
    losses: Floats
    data_sha256: str
    fitted_on: str


def count_information(texts: Sequence[Features]) -> Floats:
    """How rare each bucket is in ordinary text: -log share, one half added to every count."""
    counts = np.full(BUCKETS, 0.5)
    for text in texts:
        counts += np.bincount(text.buckets, minlength=BUCKETS)
    return np.asarray(-np.log(counts / counts.sum()), np.float64)


def build_prior(texts: Sequence[Features], data_sha256: str, fitted_on: str) -> LearnedHead:
    """The head that needs no labels: length, and RARITY_SHARE of rarity, standardised on `texts`."""
    information = count_information(texts)
    count = len(DENSE_NAMES)
    raw = np.stack([_raw_row(text, information) for text in texts])
    mean, scale = np.zeros(count), np.ones(count)
    for column in (_LENGTH, _RARITY):
        mean[column] = raw[:, column].mean()
        scale[column] = raw[:, column].std() + 1e-9
    weights = np.zeros(count)
    weights[_PRIOR] = 1.0
    card = HeadCard(FORMAT, 0, data_sha256, fitted_on, DENSE_NAMES)
    return LearnedHead(card, information, np.zeros(BUCKETS), weights, mean, scale, 0.0)


def fit_head(labels: LabelledFeatures, prior: LearnedHead, prior_slope: float = 0.1) -> LearnedHead:
    """Fit a head to a tenant's labels: logistic regression on (1 + loss) / 2, penalised for leaving the prior.

    Units:  prior_slope, logits per unit of the prior's score: what the prior is trusted to say before any label is
            seen.
    Raises: ConfigError when there is no label.
    Cost:   STEPS passes over the labels; 14 k prompts take 2 s on one core.
    Source: accelerated gradient, Nesterov 1983; FISTA's step, Beck and Teboulle 2009.
    """
    if not labels.features:
        raise ConfigError("no labels to fit a head on", hint="the prior is used until there are some")
    design = _Design(labels.features, prior)
    target = (1.0 + np.asarray(labels.losses, np.float64)) / 2.0
    start = np.zeros(BUCKETS + len(DENSE_NAMES) + 1)
    start[BUCKETS + _PRIOR] = prior_slope
    weights = _descend(design, target, start)
    card = HeadCard(FORMAT, len(labels.features), labels.data_sha256, labels.fitted_on, DENSE_NAMES)
    return LearnedHead(
        card,
        prior.information,
        weights[:BUCKETS],
        weights[BUCKETS:-1],
        design.mean,
        design.scale,
        float(weights[-1]),
    )


def read_labels(outcomes: Outcomes, small: str, top: str, fitted_on: str) -> LabelledFeatures:
    """The outcomes whose prompts are known, as a head is fitted on them."""
    rows = [row for row in outcomes.rows if row.prompt is not None]
    losses = np.asarray([row.scores[top] - row.scores[small] for row in rows], np.float64)
    features = [read_labelled(row.prompt or "", row.shape) for row in rows]
    return LabelledFeatures(features, losses, outcomes.data_sha256, fitted_on)


def compare_heads(labels: LabelledFeatures, prior: LearnedHead) -> HeadComparison:
    """How well a head fitted on these labels ranks, and the prior beside it: each label is scored by a head that has
    not seen it.

    Cost: FOLDS fits.
    """
    fold = np.random.default_rng(0).permutation(len(labels.features)) % FOLDS
    own = np.zeros(len(labels.features))
    for number in range(FOLDS):
        seen = [row for row, part in zip(labels.features, fold, strict=True) if part != number]
        head = fit_head(LabelledFeatures(seen, labels.losses[fold != number], "", ""), prior)
        own[fold == number] = [
            head.score(row) for row, part in zip(labels.features, fold, strict=True) if part == number
        ]
    base = np.asarray([prior.score(row) for row in labels.features])
    return HeadComparison(find_auroc(own, labels.losses > 0), find_auroc(base, labels.losses > 0))


def find_auroc(scores: Floats, positives: NDArray[np.bool_]) -> float | None:
    """How often a positive scores above a negative; ties count half, None if one side is empty.

    Source: Mann and Whitney 1947, Ann. Math. Stat. 18:50.
    """
    high, low = scores[positives], np.sort(scores[~positives])
    if not len(high) or not len(low):
        return None
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))


def encode_head(head: LearnedHead) -> bytes:
    """A head as an npz of half-precision arrays with its card and a hash of both. About 60 kB."""
    arrays: dict[str, NDArray[Any]] = {
        "information": head.information.astype(np.float16),
        "buckets": head.buckets.astype(np.float16),
        "dense": np.stack([head.dense, head.mean, head.scale]),
        "bias": np.asarray([head.bias]),
        "card": np.frombuffer(msgspec.json.encode(head.card), np.uint8),
    }
    digest = np.frombuffer(_digest(arrays), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, digest=digest, **arrays)
    return buffer.getvalue()


def decode_head(data: bytes, name: str = "head") -> LearnedHead:
    """Read a stored head.

    Raises: ConfigError naming the file if it is damaged, of another format or of other features.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {key: np.asarray(stored[key]) for key in stored.files}
        digest = arrays.pop("digest").tobytes()
        card = msgspec.json.decode(arrays["card"].tobytes(), type=HeadCard)
        dense, mean, scale = (np.asarray(row, np.float64) for row in arrays["dense"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, msgspec.MsgspecError) as error:
        raise ConfigError(f"{name} is not a routing head: {error}") from error
    if digest != _digest(arrays):
        raise ConfigError(f"{name} is damaged: its content does not match its hash", hint="fit it again")
    if card.format != FORMAT or card.names != DENSE_NAMES:
        raise ConfigError(f"{name} was fitted for other features", hint="fit it again with this version")
    information, buckets = (arrays[key].astype(np.float64) for key in ("information", "buckets"))
    return LearnedHead(card, information, buckets, dense, mean, scale, float(arrays["bias"][0]), digest.hex())


def load_head(path: Path) -> LearnedHead:
    """Read a head's file.

    Raises: ConfigError if it cannot be read or is not one.
    """
    try:
        return decode_head(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _digest(arrays: dict[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(key.encode() + arrays[key].tobytes())
    return digest.digest()


def _raw_row(features: Features, information: Floats) -> Floats:
    """The dense features in DENSE_NAMES' order, not standardised; `prior` is still 0."""
    row = np.zeros(len(DENSE_NAMES))
    row[: len(features.dense)] = features.dense
    if len(features.buckets):
        row[_RARITY] = information[features.buckets].mean()
    return row


def _dense_row(features: Features, information: Floats, mean: Floats, scale: Floats) -> Floats:
    row = (_raw_row(features, information) - mean) / scale
    row[_PRIOR] = row[_LENGTH] + RARITY_SHARE * row[_RARITY]
    return np.clip(row, -STANDARD_DEVIATIONS_MAX, STANDARD_DEVIATIONS_MAX, out=row)


class _Design:
    """The labelled rows as one sparse and one dense block, with the two products that a descent needs."""

    def __init__(self, features: Sequence[Features], prior: LearnedHead) -> None:
        self.rows = len(features)
        counts = np.fromiter((len(row.buckets) for row in features), np.int64, self.rows)
        self._buckets = np.concatenate([row.buckets for row in features])
        self._row = np.repeat(np.arange(self.rows), counts)
        self._value = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
        raw = np.stack([_raw_row(row, prior.information) for row in features])
        self.mean, self.scale = raw.mean(axis=0), raw.std(axis=0)
        self.scale[self.scale < 1e-9] = 1.0
        for column in (_LENGTH, _RARITY):
            self.mean[column], self.scale[column] = prior.mean[column], prior.scale[column]
        self.mean[_PRIOR], self.scale[_PRIOR] = 0.0, 1.0
        dense = np.stack([_dense_row(row, prior.information, self.mean, self.scale) for row in features])
        self._dense = np.concatenate([dense, np.ones((self.rows, 1))], axis=1)

    def times(self, weights: Floats) -> Floats:
        sparse = np.bincount(self._row, weights[self._buckets] * self._value, self.rows)
        return np.asarray(sparse + self._dense @ weights[BUCKETS:], np.float64)

    def transposed_times(self, rows: Floats) -> Floats:
        sparse = np.bincount(self._buckets, rows[self._row] * self._value, BUCKETS)
        return np.concatenate([np.asarray(sparse, np.float64), self._dense.T @ rows])


def _descend(design: _Design, target: Floats, start: Floats) -> Floats:
    penalty = np.full(len(start), BUCKET_PENALTY)
    penalty[BUCKETS:] = DENSE_PENALTY
    penalty[-1] = BIAS_PENALTY
    step = 1.0 / (0.25 * _largest_eigenvalue(design) * 1.1 + penalty.max())
    weights, ahead, momentum = start.copy(), start.copy(), 1.0
    for _ in range(STEPS):
        error = 1.0 / (1.0 + np.exp(-design.times(ahead))) - target
        moved = ahead - step * (design.transposed_times(error) + penalty * (ahead - start))
        grown = (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0
        ahead = moved + (momentum - 1.0) / grown * (moved - weights)
        weights, momentum = moved, grown
    return weights


def _largest_eigenvalue(design: _Design, rounds: int = 10) -> float:
    """The largest eigenvalue of the Gram matrix by power iteration, which sets the descent's step."""
    vector = np.ones(BUCKETS + len(DENSE_NAMES) + 1)
    value = 1.0
    for _ in range(rounds):
        vector = design.transposed_times(design.times(vector / np.linalg.norm(vector)))
        value = float(np.linalg.norm(vector))
    return value
