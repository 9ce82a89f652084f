"""What a policy may keep: its triage, its checks and where they cut, from its settings and the files that they name.

Owns: how a certificate, curves and a head become thresholds.
Must never know: requests, targets' providers, prices.
Invariants: a certificate that proves another floor, another pair of tiers or another head's scores is refused; with a
certificate only what it ranks by decides, at its threshold.

| certificate ranks by | what decides |
|---|---|
| confidence | all checks of the policy, accepted from the threshold |
| agreement | structure, then the share of agreement from the threshold |
| mean_logprob | structure, then the log-probability from the threshold |
| triage | the score: below it is kept, above it goes up; what has a cheap, certain check is checked all the same |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from renga.config.routing import DEFAULT_CHECKS, PolicySettings
from renga.errors import ConfigError
from renga.routing.certificates.certificate import Certificate, load_certificate
from renga.routing.checks.answer_checks import CheckName, CheckPolicy
from renga.routing.checks.calibration import Curve, Isotonic
from renga.routing.checks.evidence_curves import load_curves, shipped_curves
from renga.routing.triage.learned_head import LearnedHead, load_head
from renga.routing.triage.scorer import UNPROVEN, Scorer, Thresholds, load_prior

_TIERS = ("haiku", "sonnet", "opus")


class PolicyRules(Struct, frozen=True, eq=False):
    """The triage, checks, curves and certificate of one policy."""

    scorer: Scorer
    head_rows: int
    """Labels of the head that scores; 0 for the one that ships."""
    checks: CheckPolicy
    """Without the curves of a target."""
    curves: Mapping[str, Mapping[CheckName, Curve]]
    """By target: what its evidence is worth."""
    certificate: Certificate | None

    def checks_for(self, target: str) -> CheckPolicy:
        """The checks for an answer of this target."""
        own = self.curves.get(target)
        return self.checks if not own else replace(self.checks, curves={**own, **self.checks.curves})

    def expected_gain_points(self, score: float) -> float | None:
        """What the top tier is expected to do better, of 100; None where nobody's labels say so."""
        if not self.head_rows:
            return None
        return 100.0 * (2.0 / (1.0 + math.exp(-max(-30.0, min(30.0, score)))) - 1.0)


def build_rules(name: str, settings: PolicySettings) -> PolicyRules:
    """Read what a policy's settings name.

    Raises: ConfigError naming the file that is broken or proves something else.
    """
    head = _load_head(settings.head)
    checks = effective_checks(settings)
    policy = CheckPolicy(checks=checks, accept_from=settings.accept_from, seconds_max=settings.seconds_max)
    if checks == ("structural",):
        # Nothing else is asked, so an answer without a fault is what the user calls good enough.
        policy = replace(policy, curves={"structural": Isotonic((1.0,), (1.0,))})
    thresholds, certificate = UNPROVEN, None
    if settings.certificate is not None:
        certificate = load_certificate(Path(settings.certificate).expanduser())
        _check_certificate(name, settings, certificate, head)
        thresholds, policy = apply_certificate(certificate, policy)
    curves = shipped_curves() if settings.curves is None else load_curves(Path(settings.curves).expanduser())
    return PolicyRules(Scorer(head, thresholds), head.card.rows, policy, curves, certificate)


def effective_checks(settings: PolicySettings) -> tuple[CheckName, ...]:
    """The checks that run: those named, or the default ones and the judge where there is one."""
    if settings.checks is not None:
        return settings.checks
    return (*DEFAULT_CHECKS, "judge") if settings.judge is not None else DEFAULT_CHECKS


def apply_certificate(certificate: Certificate, policy: CheckPolicy) -> tuple[Thresholds, CheckPolicy]:
    """Where triage and checks cut, as proven."""
    threshold = certificate.threshold
    match certificate.ranking:
        case "triage":
            return Thresholds(keep_below=-threshold, up_above=-threshold), policy
        case "agreement":
            return UNPROVEN, replace(policy, checks=("structural", "agreement"), accept_from=threshold, curves={})
        case "mean_logprob":
            step = Isotonic((-math.inf, threshold), (0.0, 1.0))
            return UNPROVEN, replace(
                policy,
                checks=("structural", "logprob"),
                accept_from=0.5,
                reject_below=0.5,
                curves={"logprob": step},
            )
        case "confidence":
            return UNPROVEN, replace(policy, accept_from=threshold)


@cache
def _load_head(path: str | None) -> LearnedHead:
    return load_prior() if path is None else load_head(Path(path).expanduser())


def _check_certificate(name: str, settings: PolicySettings, certificate: Certificate, head: LearnedHead) -> None:
    """Raises: ConfigError naming the file if it does not prove what the policy promises."""
    file, where = settings.certificate, f"policies.{name}"
    floor = settings.floor_points
    if floor is not None and certificate.floor_points > floor:
        raise ConfigError(
            f"it proves {certificate.floor_points:g} points, and {where} promises {floor:g}",
            path=file,
            hint=f"run `renga route calibrate --floor {floor:g}`",
        )
    for role, proven, wanted in (
        ("small", certificate.small, settings.small),
        ("top", certificate.top, settings.top),
    ):
        if proven in _TIERS and wanted is not None and proven != wanted:
            raise ConfigError(f"its {role} tier is {proven}, and that of {where} is {wanted}", path=file)
    if certificate.ranking == "triage" and certificate.head_sha256 != head.sha256:
        raise ConfigError(
            f"it ranks by the scores of another head than {where} has", path=file, hint="calibrate with this head"
        )
