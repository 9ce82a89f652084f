"""The floor: which requests may be kept so that, with the asked confidence, quality stays near the top tier's.

Owns: the search for a threshold, the certificate and its file, what is done with too little data.
Must never know: requests, providers, how evidence came about.
Invariants: a certificate is only written when a valid test passed at its threshold and at every stricter one that was
tested; a certificate that was changed or damaged is refused; whatever cannot be proven is escalated.

Thresholds are tested from the strictest to the loosest, each at the full level, and the first failure ends it: so the
chance that any loosened threshold breaks the floor is at most 1 - confidence (fixed-sequence testing; Angelopoulos et
al. 2021, arXiv:2110.01052, section 3). Picking the best-looking threshold instead broke the floor in about half of all
resamples.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace
from numpy.typing import NDArray

from renga.errors import ConfigError
from renga.routing.certificates.loss_bounds import Method, default_method, passes, upper_bound
from renga.routing.digest_file import FileKind, add_digest, decode_digested, encode_digested, read_bytes
from renga.routing.outcomes.outcome_file import OutcomeRow, Outcomes, RequestSignals

FORMAT = 1
_KIND = FileKind("not a certificate", FORMAT, "renga route calibrate")
GROUP_ROWS_MIN = 300
"""Labels from which a group is calibrated on its own; with fewer its losses are shrunk to everyone's."""
STEPS = 20
LABELS_PER_STEP = 50
STEPS_MAX = 200
"""Thresholds that are tested: 20 steps of kept share, finer where there are many labels."""
RESAMPLES = 400
SAVING_CONFIDENCE = 0.9

Floats: TypeAlias = NDArray[np.float64]
Ranking: TypeAlias = Literal["confidence", "agreement", "mean_logprob", "triage"]
Unit: TypeAlias = Literal["dollars", "calls"]


class CertificateQuestion(Struct, frozen=True):
    """What the user wants to be sure of."""

    small: str
    """The tier or model that would be kept at, as the outcomes name it."""
    top: str
    floor_points: float
    """At most so many points of 100 below the top tier."""
    confidence: float = 0.9
    ranking: Ranking = "confidence"
    """Which evidence decides who is kept."""
    created_on: str = ""
    """The date for the certificate, as 2026-11-21."""
    method: Method | None = None
    """None: exact where scores are 0 or 1, betting where they are graded."""
    head_sha256: str = ""
    """For `triage`: `Head.sha256` of the head that gave the scores; a threshold means nothing for another one."""


class Certificate(Struct, frozen=True, forbid_unknown_fields=True):
    """What was proven, on which data. `decode_certificate` refuses one whose digest does not fit."""

    format: int
    small: str
    top: str
    ranking: Ranking
    threshold: float
    """Keep where the evidence is at least this; for `triage`, at most its negative: `keeps`."""
    floor_points: float
    confidence: float
    method: Method
    bound_points: float
    """With the asked confidence the loss is below this."""
    loss_points: float
    """The mean loss that was seen."""
    rows: int
    data_sha256: str
    kept_share: float
    counts: Unit
    """What the saving is a share of: calls where not every row had costs."""
    saving_share: float
    """Of what the top tier alone would have cost."""
    saving_low: float
    saving_high: float
    created_on: str
    group: str = ""
    group_rows: int = 0
    """Labels of the group itself, where the proof is everyone's and only the threshold is its own."""
    head_sha256: str = ""
    """Of the head whose scores were ranked by; "" where another evidence ranks."""
    digest: str = field(default="", name="seal")
    """Of everything above: `routing/digest_file.py`."""

    def keeps(self, evidence: RequestSignals) -> bool:
        """Whether a request with this evidence may be kept. The threshold itself is kept; what is not known is not."""
        value = getattr(evidence, self.ranking)
        return value is not None and _orient(value, self.ranking) >= self.threshold


class CertificateRefusal(Struct, frozen=True):
    """The reason why no threshold is proven and nothing may be kept."""

    reason: Literal["too_few_rows", "no_threshold_passes"]
    detail: str
    rows: int
    rows_needed: int
    """With not a single loss among them; no test can pass with fewer."""


class Sample(Struct, frozen=True, eq=False):
    """Outcomes as columns. Evidence is oriented so that more means keep."""

    losses: Floats
    evidence: Floats
    kept_cost: Floats
    """Of a kept request: the small tier, and its check where it needs one."""
    top_cost: Floats
    tried_cost: Floats | None = None
    """What was spent on a request before it was handed on; None: as much as on a kept one."""

    def spend(self, kept: NDArray[np.bool_]) -> Floats:
        """What each request costs if these are kept and the others handed on."""
        tried = self.kept_cost if self.tried_cost is None else self.tried_cost
        return np.where(kept, self.kept_cost, tried + self.top_cost)


class CertificateStep(Struct, frozen=True):
    """One threshold that passed the test, with its share kept and its cost."""

    threshold: float
    kept_share: float
    cost: float


def calibrate(outcomes: Outcomes, question: CertificateQuestion) -> Certificate | CertificateRefusal:
    """Find the cheapest threshold that is proven to hold the floor.

    Raises: ConfigError if the question makes no sense: a floor or a confidence out of range, or a top tier that costs
            nothing, of which nothing can be saved.
    Cost:   a second at 1,000 rows, nearly all of it the bound that the certificate states.
    """
    _check_question(question)
    rows = equalize_propensity(outcomes.rows)
    sample = build_sample(rows, question)
    needed = rows_needed(question.floor_points / 100.0, question.confidence)
    if len(rows) < needed:
        detail = (
            f"{len(rows)} labels cannot prove a floor of {question.floor_points:g} points with "
            f"{question.confidence:.0%} confidence, even without a loss: {needed} are needed. Everything is escalated."
        )
        return CertificateRefusal("too_few_rows", detail, len(rows), needed)
    if not sample.top_cost.sum() > 0.0:
        raise ConfigError(
            f"costs_nano_usd of {question.top} are 0, so nothing can be saved of them",
            path=outcomes.name or None,
            hint="leave the costs out to count calls",
        )
    method = question.method or default_method(sample.losses)
    passed = search(sample, question, method)
    if not passed:
        detail = (
            f"not even the strictest threshold is proven to stay within {question.floor_points:g} points at "
            f"{question.confidence:.0%} on {len(rows)} labels. Everything is escalated."
        )
        return CertificateRefusal("no_threshold_passes", detail, len(rows), needed)
    best = min(passed, key=lambda step: (step.cost, step.kept_share))
    return _certify(sample, best, method, question, replace(outcomes, rows=rows))


def calibrate_groups(outcomes: Outcomes, question: CertificateQuestion) -> dict[str, Certificate | CertificateRefusal]:
    """One answer per group. A group below GROUP_ROWS_MIN labels takes everyone's proof, at a threshold where its own
    loss, shrunk to everyone's, stays within the floor; without such a threshold, or without everyone's proof, it keeps
    nothing.
    """
    outcomes = replace(outcomes, rows=equalize_propensity(outcomes.rows))
    everyone = calibrate(outcomes, question)
    found: dict[str, Certificate | CertificateRefusal] = {}
    for name, group in sorted(outcomes.groups().items()):
        if len(group.rows) >= GROUP_ROWS_MIN:
            own = calibrate(group, question)
            found[name] = add_digest(replace(own, group=name)) if isinstance(own, Certificate) else own
        elif isinstance(everyone, CertificateRefusal):
            found[name] = everyone
        else:
            found[name] = _shrink(everyone, outcomes, group, name)
    return found


def search(sample: Sample, question: CertificateQuestion, method: Method) -> tuple[CertificateStep, ...]:
    """Walk from the strictest threshold to the loosest while the test passes."""
    floor, alpha = question.floor_points / 100.0, 1.0 - question.confidence
    passed: list[CertificateStep] = []
    for threshold in _grid(sample.evidence):
        kept = sample.evidence >= threshold
        if not passes(np.where(kept, sample.losses, 0.0), floor, alpha, method):
            break
        cost = float(sample.spend(kept).sum())
        passed.append(CertificateStep(float(threshold), float(kept.mean()), cost))
    return tuple(passed)


def build_sample(rows: tuple[OutcomeRow, ...], question: CertificateQuestion) -> Sample:
    """Outcomes as columns; a row without the evidence is never kept.

    A triage score is known before anything ran: what it keeps needs no check, and what it hands on was not tried.
    """
    small, top = question.small, question.top
    evidence = [getattr(row.evidence, question.ranking) for row in rows]
    before = question.ranking == "triage"
    priced = count_unit(rows, question) == "dollars"
    kept = [row.costs_nano_usd[small] + (0 if before else row.check_nano_usd) if priced else 0 for row in rows]
    return Sample(
        losses=np.asarray([row.scores[top] - row.scores[small] for row in rows], np.float64),
        evidence=np.asarray(
            [-math.inf if value is None else _orient(value, question.ranking) for value in evidence], np.float64
        ),
        kept_cost=np.asarray(kept, np.float64),
        top_cost=np.asarray([row.costs_nano_usd[top] if priced else 1 for row in rows], np.float64),
        tried_cost=np.zeros(len(rows)) if before else None,
    )


def count_unit(rows: tuple[OutcomeRow, ...], question: CertificateQuestion) -> Unit:
    """What a saving on these rows is a share of: dollars where every row says what both answers cost."""
    pair = (question.small, question.top)
    return "dollars" if all(name in row.costs_nano_usd for row in rows for name in pair) else "calls"


def _orient(value: float, ranking: Ranking) -> float:
    """Evidence so that more means keep: of triage's scores the lower ones are kept."""
    return -value if ranking == "triage" else value


def equalize_propensity(rows: tuple[OutcomeRow, ...]) -> tuple[OutcomeRow, ...]:
    """Drop rows at random until all had the same chance to be labelled, so that the tests' assumption holds.

    What is kept carries that chance, so that doing it again drops nothing.
    """
    lowest = min((row.propensity for row in rows), default=1.0)
    if all(row.propensity == lowest for row in rows):
        return rows
    draws = np.random.default_rng(1).random(len(rows))
    kept = (row for row, draw in zip(rows, draws, strict=True) if draw < lowest / row.propensity)
    return tuple(replace(row, propensity=lowest) for row in kept)


def rows_needed(floor: float, confidence: float) -> int:
    """Labels without a single loss that prove a floor: the smallest n with (1 - floor)^n <= 1 - confidence."""
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-floor))


def encode_certificate(certificate: Certificate) -> bytes:
    """A certificate with its digest as JSON, one field a line."""
    return encode_digested(certificate)


def load_certificate(path: Path) -> Certificate:
    """Read a certificate's file.

    Raises: ConfigError naming the file if it cannot be read, is damaged, was edited, or proves less than it says.
    """
    return decode_certificate(read_bytes(path), str(path))


def decode_certificate(data: bytes, name: str = "certificate") -> Certificate:
    """Read a certificate.

    Raises: ConfigError naming the file if it is damaged, was edited, or proves less than it says.
    """
    certificate = decode_digested(data, name, Certificate, _KIND)
    if certificate.bound_points > certificate.floor_points or not math.isfinite(certificate.threshold):
        raise ConfigError("its bound does not hold its floor", path=name, hint="calibrate again")
    if certificate.ranking == "triage" and not certificate.head_sha256:
        raise ConfigError("it does not say which head's scores it ranks by", path=name, hint="calibrate again")
    return certificate


def _check_question(question: CertificateQuestion) -> None:
    if not 0.0 < question.floor_points < 100.0:
        raise ConfigError(f"a floor of {question.floor_points:g} points is not between 0 and 100")
    if not 0.5 <= question.confidence < 1.0:
        raise ConfigError(f"a confidence of {question.confidence:g} is not between 0.5 and 1", hint="0.9 is usual")


def _grid(evidence: Floats) -> list[float]:
    """Thresholds by kept share, strictest first: a rule that looks at evidence only, never at scores."""
    finite = evidence[np.isfinite(evidence)]
    if not len(finite):
        return []
    steps = min(STEPS_MAX, max(STEPS, len(finite) // LABELS_PER_STEP))
    shares = np.arange(1, steps + 1) / steps
    values = np.quantile(finite, 1.0 - shares, method="higher")
    return sorted({float(value) for value in values}, reverse=True)


def _certify(
    sample: Sample, best: CertificateStep, method: Method, question: CertificateQuestion, outcomes: Outcomes
) -> Certificate:
    kept = sample.evidence >= best.threshold
    losses = np.where(kept, sample.losses, 0.0)
    cost = sample.spend(kept)
    low, high = _saving_interval(cost, sample.top_cost)
    bound = upper_bound(losses, 1.0 - question.confidence, method)
    return add_digest(
        Certificate(
            format=FORMAT,
            small=question.small,
            top=question.top,
            ranking=question.ranking,
            threshold=best.threshold,
            floor_points=question.floor_points,
            confidence=question.confidence,
            method=method,
            bound_points=min(100.0 * bound, question.floor_points),
            loss_points=100.0 * float(losses.mean()),
            rows=len(losses),
            data_sha256=outcomes.data_sha256,
            kept_share=best.kept_share,
            counts=count_unit(outcomes.rows, question),
            saving_share=1.0 - float(cost.sum() / sample.top_cost.sum()),
            saving_low=low,
            saving_high=high,
            created_on=question.created_on,
            head_sha256=question.head_sha256 if question.ranking == "triage" else "",
        )
    )


def _saving_interval(cost: Floats, top_cost: Floats) -> tuple[float, float]:
    """Over resamples of the rows; one that drew no row with a price says nothing of a share."""
    draws = np.random.default_rng(0).integers(0, len(cost), (RESAMPLES, len(cost)))
    spent, all_top = cost[draws].sum(axis=1), top_cost[draws].sum(axis=1)
    savings = 1.0 - spent[all_top > 0.0] / all_top[all_top > 0.0]
    tail = (1.0 - SAVING_CONFIDENCE) / 2.0
    low, high = np.quantile(savings, (tail, 1.0 - tail))
    return float(low), float(high)


def _shrink(everyone: Certificate, outcomes: Outcomes, group: Outcomes, name: str) -> Certificate | CertificateRefusal:
    question = CertificateQuestion(
        everyone.small, everyone.top, everyone.floor_points, everyone.confidence, everyone.ranking
    )
    all_rows, own_rows = build_sample(outcomes.rows, question), build_sample(group.rows, question)
    count = len(own_rows.losses)
    for threshold in sorted({everyone.threshold, *_grid(all_rows.evidence)}):
        if threshold < everyone.threshold:
            continue
        own = float(np.where(own_rows.evidence >= threshold, own_rows.losses, 0.0).sum())
        prior = float(np.where(all_rows.evidence >= threshold, all_rows.losses, 0.0).mean())
        if (own + GROUP_ROWS_MIN * prior) / (count + GROUP_ROWS_MIN) <= everyone.floor_points / 100.0:
            kept = float((own_rows.evidence >= threshold).mean())
            return add_digest(replace(everyone, threshold=threshold, kept_share=kept, group=name, group_rows=count))
    detail = f"group {name} loses more than {everyone.floor_points:g} points at every threshold. All are escalated."
    return CertificateRefusal("no_threshold_passes", detail, count, GROUP_ROWS_MIN)
