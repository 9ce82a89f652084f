"""`renga route explain`: the decision that the configured policies make of a request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from renga.cli.shell.options import ConfigOption, DataOption, JsonOption, read_config

if TYPE_CHECKING:
    from renga.protocols.messages.request import MessageRequest
    from renga.routing.plan import Plan, PlannedAttempt
    from renga.routing.policy.policies import Policy
    from renga.routing.router import Router
    from renga.routing.triage.scorer import TriageResult

_MEANINGS = {
    "haiku": "the small tier answers, and nothing is checked",
    "verify": "the small tier answers, and the answer is checked before it is kept",
    "up": "the small tier is not asked",
}
_DECISIONS = 21
"""Decisions that are timed, after one that is not: the first one of a process pays for loading."""


def explain(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="The question; with - it is read from stdin.")
    ] = None,
    request: Annotated[
        Path | None, typer.Option("--request", metavar="FILE", help="A whole Messages request as JSON instead.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="The name that is asked for, if not the request's.")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the server would do with a request, and why. Nothing is sent anywhere."""
    asked, body_bytes = _read_request(prompt, request, model)
    from renga.app import build
    from renga.domain.reasons import render_reasons

    router = build(read_config(config, data_dir)).parts.answering.router
    plan = router.plan(asked, body_bytes=body_bytes, as_if_ready=True)
    decision_us = _time_decision(router, asked, body_bytes)
    policy = None if router.policies is None or plan.policy is None else router.policies.find(plan.policy)
    triage = None if policy is None else policy.rules.scorer.decide(asked)
    if as_json:
        _print_json(plan, triage, decision_us)
        return
    _print_lines(
        [
            *([] if triage is None else _render_triage(triage)),
            *([] if policy is None else [("floor", _render_floor(policy))]),
            ("plan", render_reasons(plan.reasons)),
            *_render_attempts(plan.attempts),
            *([] if plan.top_nano_usd is None else [("expected", _render_cost(plan))]),
            ("decided in", f"{decision_us:.0f} us (median of {_DECISIONS})"),
        ]
    )


def _render_triage(triage: TriageResult) -> list[tuple[str, str]]:
    reasons = ", ".join(triage.reasons)
    if triage.reasons == ("score",):
        reasons = "score: between the thresholds, or none is in force"
    return [
        ("route", f"{triage.route}: {_MEANINGS[triage.route]}"),
        ("score", f"{triage.score:+.2f} (0: a typical exam question; higher: longer, with rarer words)"),
        ("reasons", reasons),
    ]


def _render_floor(policy: Policy) -> str:
    settings = policy.settings
    if settings.floor_points is None:
        return f"none is promised: kept where the checks say {settings.accept_from:g} or more, uncertified"
    certificate = policy.rules.certificate
    promise = f"{settings.floor_points:g} points"
    if certificate is None:
        return f"{promise}, and no certificate proves it: everything goes up"
    return f"{promise}, proven on {certificate.rows:,} labels at {100 * certificate.confidence:.10g} %"


def _render_attempts(attempts: tuple[PlannedAttempt, ...]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for number, attempt in enumerate(attempts, 1):
        check = attempt.check
        tier = f" ({attempt.tier})" if attempt.tier is not None else ""
        checked = ""
        if check is not None:
            when = "checked afterwards" if check.optimistic else "held until checked"
            checked = f", {when}: {', '.join(check.policy.checks)}"
        lines.append((f"{number}.", f"{attempt.target.name}{tier}{checked}"))
    return lines


def _render_cost(plan: Plan) -> str:
    whole = "not known" if plan.expected_nano_usd is None else f"${plan.expected_nano_usd / 1e9:.6f}"
    return f"{whole}; the top tier alone ${(plan.top_nano_usd or 0) / 1e9:.6f}"


def _print_json(plan: Plan, triage: TriageResult | None, decision_us: float) -> None:
    from renga.cli.shell.table import print_json
    from renga.domain.reasons import render_reasons

    decided = {} if triage is None else {"route": triage.route, "score": triage.score, "reasons": triage.reasons}
    print_json(
        {
            **decided,
            "plan": render_reasons(plan.reasons),
            "policy": plan.policy,
            "attempts": [
                {
                    "target": attempt.target.name,
                    "tier": attempt.tier,
                    "checks": () if attempt.check is None else attempt.check.policy.checks,
                }
                for attempt in plan.attempts
            ],
            "expected_nano_usd": plan.expected_nano_usd,
            "top_nano_usd": plan.top_nano_usd,
            "decision_us": round(decision_us, 1),
        }
    )


def _print_lines(lines: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def _read_request(prompt: str | None, file: Path | None, model: str | None) -> tuple[MessageRequest, int]:
    """The request and the size of its body.

    Raises: BadParameter if there is nothing to decide on, ConfigError naming the file if it holds no request.
    """
    from msgspec.structs import replace

    from renga.protocols.messages.request import MessageRequest, Turn

    if file is not None:
        if prompt is not None:
            raise typer.BadParameter("a prompt and a request are two questions; give one", param_hint="--request")
        asked, size = _decode_file(file)
        return (asked if model is None else replace(asked, model=model)), size
    try:
        text = sys.stdin.read() if prompt == "-" else prompt
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"stdin is not text: {error}", param_hint="prompt") from error
    if not text or not text.strip():
        raise typer.BadParameter(
            'nothing to explain, as in: renga route explain "Why is the sky blue?"', param_hint="prompt"
        )
    return MessageRequest(model=model or "auto", messages=(Turn("user", text),), max_tokens=1024), len(text.encode())


def _decode_file(file: Path) -> tuple[MessageRequest, int]:
    """Read by the newest version's rules, or by the older one's where those refuse it."""
    from renga.errors import ConfigError, InvalidRequest
    from renga.protocols.messages.decode import decode_request

    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(file)) from error
    try:
        return decode_request(data, "2026-10-21"), len(data)
    except InvalidRequest as newest:
        try:
            return decode_request(data, "2023-06-01"), len(data)
        except InvalidRequest:
            raise ConfigError(newest.sentence(), path=str(file)) from newest


def _time_decision(router: Router, asked: MessageRequest, body_bytes: int) -> float:
    """The median of how long a decision takes, in microseconds."""
    from statistics import median
    from time import perf_counter_ns

    times_ns: list[int] = []
    for _ in range(_DECISIONS):
        began_ns = perf_counter_ns()
        router.plan(asked, body_bytes=body_bytes, as_if_ready=True)
        times_ns.append(perf_counter_ns() - began_ns)
    return median(times_ns) / 1000
