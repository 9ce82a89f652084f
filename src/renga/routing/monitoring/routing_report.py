"""The routing report: what policies kept, what that saved and cost in quality, and how targets fare.

Owns: the figures and their intervals.
Must never know: SQL, HTTP, where prices come from.
Invariants: bounded work, a newest part of the rows where there are more; what is estimated says so; money is integer
nano-dollars, and a figure that nobody knows is None, never 0.

What the top tier alone would have cost is known for what it answered. For what was kept it is the same tokens at its
prices, corrected by how much dearer or cheaper its own answers to such requests were in shadow traffic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, field

from renga.domain.outcomes import OutcomeRecord, RoutedRow
from renga.domain.reasons import ReasonKind, parse_reasons
from renga.routing.monitoring.guarantee_monitor import FloorReading
from renga.routing.targets.target_health import TargetState

ROWS_MAX = 20_000
"""The newest requests, and the newest outcomes, that a report reads: 50 ms each."""
PATHS = ("kept", "verified", "escalated", "last_resort")
"""kept: unchecked. last_resort: the small tier's answer, not accepted, because nobody above could be reached."""
PAIRS_MIN = 20
"""Shadow answers from which the top tier's prices are corrected by what it really cost."""
_Z = 1.6448536269514722
"""Of a 90 % interval."""


class CertificateSummary(Struct, frozen=True):
    """What a certificate guaranteed when it was made."""

    digest: str = field(name="seal")
    ranking: str
    threshold: float
    bound_points: float
    rows: int
    kept_share: float
    saving_share: float
    counts: str
    created_on: str


class PolicySummary(Struct, frozen=True):
    """A policy as it is in force."""

    name: str
    small: str
    top: str
    top_target: str
    """At whose prices savings are counted; "" where nothing stands above."""
    floor_points: float | None
    state: str
    """certified, uncertified (no floor is promised), no_certificate (everything goes up) or suspended:REASON."""
    certificate: CertificateSummary | None
    shadow_share: float
    shadow_spent_nano_usd: int
    shadow_usd_per_day: float


class LatencySummary(Struct, frozen=True):
    """Time to the first event that the client got."""

    requests: int
    p50_ms: float | None
    p99_ms: float | None


class SpendSaving(Struct, frozen=True):
    """What was saved compared with asking the top tier alone."""

    spent_nano_usd: int
    top_nano_usd: int
    """Estimated where the small tier answered."""
    share: float
    low: float
    high: float
    """Bounds of a 90 % interval."""
    price_ratio: float
    """What the top tier's own answers cost in shadow traffic, over the same tokens at its prices; 1: not known."""
    price_ratio_pairs: int


class FeedbackSummary(Struct, frozen=True):
    """A summary of feedback. Its senders are not a random sample, so it proves nothing."""

    count: int
    mean_score: float


class PolicyReport(Struct, frozen=True):
    """The routing figures of one policy over the reported time."""

    policy: PolicySummary
    requests: int
    kept: int
    """Answered by the small tier."""
    kept_share: float | None
    escalations: dict[str, int]
    """By reason, the most frequent first."""
    failed: int
    """Neither kept nor escalated: nobody answered."""
    saving: SpendSaving | None
    """None where a price is not known, or nothing was answered."""
    unpriced: int
    """Requests that the saving leaves out."""
    quality: FloorReading | None
    """The loss against the top tier, from shadow traffic; None without any."""
    feedback: dict[str, FeedbackSummary]
    """By the tier that had answered."""
    latency: dict[str, LatencySummary]
    """By path: PATHS."""


class RoutingReport(Struct, frozen=True):
    """The routing figures of all policies, canaries and targets."""

    since_us: int
    until_us: int
    is_part: bool
    """There were more requests than a report reads; it is of the newest."""
    policies: tuple[PolicyReport, ...]
    canaries: tuple[FloorReading, ...]
    targets: tuple[TargetState, ...]


class ReportMaterial(Struct, frozen=True):
    """What a report is made of."""

    since_us: int
    until_us: int
    rows: Sequence[RoutedRow]
    outcomes: Sequence[OutcomeRecord]
    policies: Sequence[PolicySummary]
    readings: Sequence[FloorReading]
    targets: Sequence[TargetState]
    price: Callable[[str, RoutedRow], int | None]
    """What a request's tokens cost at another target."""


def compose_report(material: ReportMaterial) -> RoutingReport:
    """The report. Cost: 60 ms at ROWS_MAX rows; from any thread."""
    named = {policy.name for policy in material.policies}
    gone = {row.policy for row in material.rows} - named
    policies = [
        *material.policies,
        # Requests of a policy that is in the settings no more.
        *(PolicySummary(name, "", "", "", None, "gone", None, 0.0, 0, 0.0) for name in sorted(gone)),
    ]
    return RoutingReport(
        since_us=material.since_us,
        until_us=material.until_us,
        is_part=len(material.rows) >= ROWS_MAX,
        policies=tuple(_report_policy(policy, material) for policy in policies),
        canaries=tuple(reading for reading in material.readings if reading.source == "canary"),
        targets=tuple(material.targets),
    )


def classify(row: RoutedRow) -> str | None:
    """By which path the client got its answer; None where nobody answered."""
    if row.kept is None or row.status in ("failed", "canceled"):
        return None
    if not row.kept:
        return "last_resort" if _has_reason(row, "last_resort") else "escalated"
    return "verified" if _has_reason(row, "check") else "kept"


def _has_reason(row: RoutedRow, kind: ReasonKind) -> bool:
    """Whether a reason of this kind is among those of a row; the text is read only where it may be."""
    return kind in row.why and any(reason.kind == kind for reason in parse_reasons(row.why))


def _report_policy(policy: PolicySummary, material: ReportMaterial) -> PolicyReport:
    rows = [row for row in material.rows if row.policy == policy.name]
    paths = [(classify(row), row) for row in rows]
    answered = sum(path is not None for path, _ in paths)
    kept = sum(path in ("kept", "verified") for path, _ in paths)
    saving, unpriced = _save(policy, [row for path, row in paths if path is not None], material)
    readings = (each for each in material.readings if (each.source, each.subject) == ("shadow", policy.name))
    return PolicyReport(
        policy=policy,
        requests=len(rows),
        kept=kept,
        kept_share=kept / answered if answered else None,
        escalations=_count(
            row.escalated_because or "unknown" for path, row in paths if path in ("escalated", "last_resort")
        ),
        failed=len(rows) - answered,
        saving=saving,
        unpriced=unpriced,
        quality=next(readings, None),
        feedback=_sum_feedback(policy.name, material.outcomes),
        latency={
            name: _measure(
                [row.first_event_us for path, row in paths if path == name and row.first_event_us is not None]
            )
            for name in PATHS
        },
    )


def _count(reasons: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _measure(times_us: list[int]) -> LatencySummary:
    times_us.sort()
    count = len(times_us)
    if not count:
        return LatencySummary(0, None, None)
    p50, p99 = (times_us[min(count - 1, math.ceil(share * count) - 1)] / 1000.0 for share in (0.5, 0.99))
    return LatencySummary(count, p50, p99)


def _sum_feedback(policy: str, outcomes: Iterable[OutcomeRecord]) -> dict[str, FeedbackSummary]:
    scores: dict[str, list[float]] = {}
    for record in outcomes:
        if record.source == "feedback" and record.policy == policy:
            for name, score in record.scores.items():
                scores.setdefault(name, []).append(score)
    return {name: FeedbackSummary(len(given), sum(given) / len(given)) for name, given in sorted(scores.items())}


class _ReportLine(Struct, frozen=True):
    """What one request cost, and what it would have cost at the top."""

    spent: int
    known_top: int
    """Of what the top tier answered."""
    priced_top: int
    """Of what was kept: the same tokens at the top's prices."""


def _save(policy: PolicySummary, rows: Sequence[RoutedRow], material: ReportMaterial) -> tuple[SpendSaving | None, int]:
    """The saving, and how many requests had to be left out for want of a price."""
    lines: list[_ReportLine] = []
    for row in rows:
        line = _price_line(policy, row, material)
        if line is not None:
            lines.append(line)
    left_out = len(rows) - len(lines)
    if not lines:
        return None, left_out
    ratio, ratio_error, pairs = _correct_prices(policy, rows, material)
    spent = sum(line.spent for line in lines)
    priced = sum(line.priced_top for line in lines)
    top = sum(line.known_top for line in lines) + ratio * priced
    if top <= 0:
        return None, left_out
    share = 1.0 - spent / top
    # A ratio's error by its residuals, and that of the correction beside it.
    residuals = [line.spent - (1.0 - share) * (line.known_top + ratio * line.priced_top) for line in lines]
    error = math.sqrt(sum(each * each for each in residuals)) / top
    error = math.hypot(error, spent / top * ratio_error * priced / top)
    return SpendSaving(spent, round(top), share, share - _Z * error, share + _Z * error, ratio, pairs), left_out


def _price_line(policy: PolicySummary, row: RoutedRow, material: ReportMaterial) -> _ReportLine | None:
    if row.cost_nano_usd is None or row.check_cost_nano_usd is None:
        return None
    if row.tier == policy.top:
        return _ReportLine(row.cost_nano_usd, row.cost_nano_usd - row.check_cost_nano_usd, 0)
    top = material.price(policy.top_target, row) if policy.top_target else None
    return None if top is None else _ReportLine(row.cost_nano_usd, 0, top)


def _correct_prices(
    policy: PolicySummary, rows: Sequence[RoutedRow], material: ReportMaterial
) -> tuple[float, float, int]:
    """What the top's answers cost over the same tokens at its prices, its standard error, and the pairs it is from."""
    by_id = {row.request_id: row for row in rows if row.tier != policy.top}
    pairs: list[tuple[int, int]] = []
    for record in material.outcomes:
        row = by_id.get(record.request_id)
        if row is None or record.source != "shadow" or policy.top not in record.costs_nano_usd:
            continue
        priced = material.price(policy.top_target, row)
        if priced:
            pairs.append((record.costs_nano_usd[policy.top], priced))
    if len(pairs) < PAIRS_MIN:
        return 1.0, 0.0, 0
    total = sum(priced for _, priced in pairs)
    ratio = sum(cost for cost, _ in pairs) / total
    error = math.sqrt(sum((cost - ratio * priced) ** 2 for cost, priced in pairs)) / total
    return ratio, error, len(pairs)
