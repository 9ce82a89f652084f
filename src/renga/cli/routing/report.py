"""`renga route report`: what policies keep, save and lose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, UrlOption, read_config

if TYPE_CHECKING:
    from renga.config import Config
    from renga.routing.monitoring.guarantee_monitor import FloorReading
    from renga.routing.monitoring.routing_report import LatencySummary, PolicyReport, RoutingReport, SpendSaving

_NANO = 1_000_000_000
_REASONS_MAX = 8


def report(
    days: Annotated[float, typer.Option("--days", metavar="N", help="Of the last N days.")] = 7.0,
    url: UrlOption = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what policies kept, what that saved and lost, and how targets fare.

    With --url a running server is asked, which also knows its targets' health; else the database is read.
    """
    if not 0.0 < days <= 90.0:
        raise typer.BadParameter("a number of days above 0 and at most 90", param_hint="--days")
    settings = read_config(config, data_dir)
    found = _ask(settings, url, days) if url else _read(settings, days)
    if as_json:
        from renga.cli.shell.table import print_json

        print_json(found)
        return
    _print_report(found, days)


def _ask(settings: Config, url: str, days: float) -> RoutingReport:
    """Raises: RengaError with the server's own words if it refuses."""
    import msgspec

    from renga.cli.shell.server_connection import open_connection
    from renga.routing.monitoring.routing_report import RoutingReport

    with open_connection(settings, url, os.environ) as connection:
        return msgspec.convert(connection.get_json(f"/v1/routing/report?days={days:g}"), RoutingReport)


def _read(settings: Config, days: float) -> RoutingReport:
    """The same out of the database, with every label told to the monitors again."""
    from renga.app import build
    from renga.cli.shell.database_access import open_configured_database

    app = build(settings)
    reports = app.parts.routing
    assert reports is not None and app.parts.outcomes is not None
    with open_configured_database(settings) as database:
        app.parts.outcomes.read_all(database)
        return reports.report(database, days, ())


def _print_report(found: RoutingReport, days: float) -> None:
    from renga.cli.shell.table import print_lines

    part = ", the newest that a report reads" if found.is_part else ""
    for policy in found.policies:
        print(f"{policy.policy.name}: {policy.requests:,} requests in {days:g} days{part}")
        print_lines(list(_render_policy(policy)))
        print()
    for canary in found.canaries:
        print(f"canary {canary.subject} beside {canary.top}")
        print_lines([("quality", _render_quality(canary)), ("verdict", render_verdict(canary))])
        print()
    if found.targets:
        _print_targets(found)


def _render_policy(found: PolicyReport) -> Iterator[tuple[str, str]]:
    policy = found.policy
    yield "state", _STATES.get(policy.state, policy.state.replace("suspended:", "SUSPENDED, everything goes up: "))
    if policy.certificate is not None:
        made = policy.certificate
        yield (
            "certificate",
            f"{made.digest} of {made.created_on or 'an unknown day'}: {made.ranking}, bound {made.bound_points:.2f} "
            f"points on {made.rows:,} rows",
        )
    if found.kept_share is not None:
        yield "kept", f"{100 * found.kept_share:.1f} % at {policy.small} ({found.kept:,})"
    if found.failed:
        yield "unanswered", f"{found.failed:,}"
    for reason, count in list(found.escalations.items())[:_REASONS_MAX]:
        yield "escalated", f"{count:,} for {reason}"
    if found.saving is not None:
        yield "saving", _render_saving(found.saving, policy.top_target)
    if found.unpriced:
        yield "unpriced", f"{found.unpriced:,} requests without a known price are not in the saving"
    if found.quality is not None:
        yield "quality", _render_quality(found.quality)
    for tier, feedback in found.feedback.items():
        yield "feedback", f"{feedback.mean_score:.2f} of 1 for {tier} ({feedback.count:,} times)"
    for path, latency in found.latency.items():
        if latency.requests:
            yield path, _render_latency(latency)
    if policy.shadow_share:
        spent = policy.shadow_spent_nano_usd / _NANO
        yield "shadow", f"{100 * policy.shadow_share:g} % drawn; ${spent:.4f} of ${policy.shadow_usd_per_day:g} today"


_STATES = {
    "certified": "certified",
    "uncertified": "uncertified: no floor is promised",
    "no_certificate": "a floor without a certificate: everything goes up",
    "gone": "no longer in the settings",
}


def _render_saving(saving: SpendSaving, top: str) -> str:
    text = (
        f"{100 * saving.share:.1f} % of what {top} alone would have cost (90 % interval {100 * saving.low:.1f} to "
        f"{100 * saving.high:.1f}): ${saving.spent_nano_usd / _NANO:.4f} of ${saving.top_nano_usd / _NANO:.4f}"
    )
    if saving.price_ratio_pairs:
        return f"{text}; corrected by {saving.price_ratio:.2f} from {saving.price_ratio_pairs:,} shadow answers"
    return f"{text}; estimated from the small tier's tokens"


def _render_quality(reading: FloorReading) -> str:
    if not reading.labels:
        text = "no labels yet"
    else:
        text = (
            f"{reading.loss_points:.2f} points below {reading.top} on {reading.labels:,} labels, "
            f"{max(reading.low_points, -100):.1f} to {min(reading.high_points, 100):.1f} with "
            f"{100 * reading.confidence:g} % confidence"
        )
    if reading.floor_points is not None:
        text += f"; promised: {reading.floor_points:g}"
    aside = [
        f"{count:,} {name}" for count, name in ((reading.unjudged, "unjudged"), (reading.failed, "failed")) if count
    ]
    return f"{text} ({', '.join(aside)})" if aside else text


def render_verdict(reading: FloorReading) -> str:
    """What is known of a candidate, in a sentence."""
    if reading.broken_us is not None:
        return f"rolled back: it is worse than {reading.floor_points:g} points"
    if reading.is_proven:
        return f"proven not worse by {reading.floor_points:g} points; promote it in [tiers]"
    return "not known yet"


def _render_latency(latency: LatencySummary) -> str:
    return f"{latency.requests:,}, first token {latency.p50_ms:.0f} ms (p50), {latency.p99_ms:.0f} ms (p99)"


def _print_targets(found: RoutingReport) -> None:
    from renga.cli.shell.table import Column, print_table

    columns = (
        Column("target"),
        Column("standing"),
        Column("failures", is_number=True),
        Column("first token", is_number=True),
        Column("running", is_number=True),
    )
    rows = [
        (
            state.target,
            state.standing + (f", {state.cool_down_left_s:.0f} s left" if state.cool_down_left_s else ""),
            "-" if state.error_ratio is None else f"{100 * state.error_ratio:.1f} %",
            "-" if state.first_event_ms is None else f"{state.first_event_ms:.0f} ms",
            f"{state.running}" + ("" if state.concurrent_requests is None else f" of {state.concurrent_requests}"),
        )
        for state in found.targets
    ]
    print_table(columns, rows)
