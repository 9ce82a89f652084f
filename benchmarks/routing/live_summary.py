"""What `benchmarks.routing.live` saw, held against the ledger and the routing report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from renga.domain.ledger import LedgerRow
from renga.domain.reasons import parse_reasons
from renga.services.evals.cases import EvalCase


@dataclass
class Seen:
    """What a client saw of one request."""

    case: EvalCase
    model: str
    status: int
    request_id: str
    target: str
    plan: str
    text: str
    whole: bool
    """The answer came to its end, or the error was one JSON object."""
    seconds: float


def path_of(kept: bool | None, why: str) -> str:
    if kept is None:
        return "unanswered"
    kinds = {reason.kind for reason in parse_reasons(why)}
    if not kept:
        return "last_resort" if "last_resort" in kinds else "escalated"
    return "verified" if "check" in kinds else "kept"


def summarize(
    collected: list[Seen], seen: list[Seen], rows: list[LedgerRow], report: dict[str, dict[str, object]]
) -> dict[str, object]:
    """The figures, and whatever does not fit together."""
    wrong: list[str] = []
    by_id = {row.request_id: row for row in rows}
    everything = [*collected, *seen]
    if len(by_id) != len(rows) or set(by_id) != {each.request_id for each in everything}:
        wrong.append(f"{len(everything)} requests, {len(rows)} rows, {len(by_id)} of them different")
    wrong += [f"{each.request_id} broke off" for each in everything if not each.whole]
    for each in seen:
        row = by_id.get(each.request_id)
        if row is None:
            continue
        if each.status == 200 and (each.target, each.plan) != (row.target, row.why):
            wrong.append(f"{each.request_id}: {each.target} {each.plan} against {row.target} {row.why}")
        if (each.status == 200) != (row.status == "succeeded"):
            wrong.append(f"{each.request_id}: {each.status} against {row.status}")
    ids = {each.request_id for each in seen}
    paths = Counter(path_of(row.kept, row.why) for row in rows if row.request_id in ids)
    counted = Counter(path_of(row.kept, row.why) for row in rows)
    shown = Counter[str]()
    for policy in report.values():
        for name, latency in policy["latency"].items():  # type: ignore[attr-defined]
            shown[name] += latency["requests"]
        shown["unanswered"] += policy["failed"]  # type: ignore[operator]
    if +shown != +counted:
        wrong.append(f"the report counts {dict(shown)}, the ledger {dict(counted)}")
    answered = [each for each in seen if each.status == 200]
    auto = [each for each in answered if each.model == "auto"]
    right = [float(each.text.strip() == each.case.expected) for each in auto]
    quality = report["auto"]["quality"]
    return {
        "requests": len(seen),
        "paths": dict(paths),
        "statuses": dict(Counter(each.status for each in seen)),
        "reasons": dict(
            Counter((row.escalated_because or "-").partition("=")[0] for row in rows if row.request_id in ids)
        ),
        "auto_accuracy": round(sum(right) / len(right), 4) if right else None,
        "auto_kept_accuracy": accuracy_of(auto, by_id),
        "report": {
            name: {
                "state": policy["policy"]["state"],  # type: ignore[index]
                "requests": policy["requests"],
                "kept_share": policy["kept_share"],
                "saving": policy["saving"],
                "latency": policy["latency"],
            }
            for name, policy in report.items()
        },
        "quality": quality,
        "wrong": wrong,
    }


def accuracy_of(seen: list[Seen], rows: dict[str, LedgerRow]) -> dict[str, float]:
    """By path, with the count of requests."""
    found: dict[str, list[float]] = {}
    for each in seen:
        row = rows[each.request_id]
        name = path_of(row.kept, row.why)
        found.setdefault(name, []).append(float(each.text.strip() == each.case.expected))
    return {f"{name}, n = {len(right)}": round(sum(right) / len(right), 4) for name, right in found.items()}
