"""Runs suites and says what came out: score, interval, bar, baselines, calibration.

Owns:   the order of things and the table. `run_suites` is what training/evaluate.py and `renga eval hokku` both call.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from renga.services.evals.cases import Answerer, EvalAnswer, EvalCase, EvalSuite
from renga.services.evals.datasets.locations import DataMissing
from renga.services.evals.statistics import (
    auroc,
    bootstrap_interval,
    calibration_error,
    fit_temperature,
    wilson_interval,
)
from renga.services.evals.suites import labels, objects, texts
from renga.services.evals.suites.labels import SCOPE
from renga.services.evals.suites.objects import is_valid

SUITES: tuple[EvalSuite, ...] = (*labels.SUITES, *objects.SUITES, *texts.SUITES)
DEFAULT_CASES = 500
SEED = 20261121


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """One line of an evaluation report: a score, its interval and its bar."""

    name: str
    metric: str
    cases: int
    score: float
    interval: tuple[float, float]
    "95 %"
    bar: float | None
    baselines: tuple[tuple[str, float], ...] = ()
    groups: tuple[tuple[str, float, int], ...] = ()
    "(group, score, cases)"
    errors: int = 0

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        return None if self.bar is None else self.score >= self.bar


@dataclass(slots=True)
class Calibration:
    """Answers with their confidence, from every calibrated suite."""

    logprobs: list[float] = field(default_factory=list[float])
    right: list[bool] = field(default_factory=list[bool])
    names: list[str] = field(default_factory=list[str])
    """Suite and number of each answer."""

    def add(self, suite: EvalSuite, cases: list[EvalCase], answers: list[EvalAnswer]) -> None:
        for case, answer in zip(cases, answers, strict=True):
            if answer.mean_logprob is not None and not answer.error:
                self.logprobs.append(answer.mean_logprob)
                self.right.append(suite.score(case, answer) == 1.0)
                self.names.append(f"{suite.name} {len(self.names)}")

    def outcomes(self, model: str) -> list[dict[str, object]]:
        """The answers as `renga route curves` reads them."""
        return [
            {"id": name, "scores": {model: float(right)}, "evidence": {"mean_logprob": logprob}}
            for name, right, logprob in zip(self.names, self.right, self.logprobs, strict=True)
        ]

    def rows(self) -> list[SuiteRow]:
        """AUROC over all; calibration error on one half with the temperature fitted on the other."""
        count = len(self.right)
        if not count or len(set(self.right)) < 2:
            return []

        def ranked(indices: list[int]) -> float:
            return auroc([self.logprobs[index] for index in indices], [self.right[index] for index in indices])

        order = list(range(count))
        Random(SEED).shuffle(order)  # noqa: S311 - a split, not secrets
        fitted, held = order[: count // 2], order[count // 2 :]
        temperature = fit_temperature(
            [self.logprobs[index] for index in fitted], [self.right[index] for index in fitted]
        )

        def error(indices: list[int]) -> float:
            confidences = [math.exp(self.logprobs[index] / temperature) for index in indices]
            return calibration_error(confidences, [self.right[index] for index in indices])

        return [
            SuiteRow("calibration, AUROC", "AUROC", count, ranked(order), bootstrap_interval(ranked, count), 0.75),
            SuiteRow(
                f"calibration error, T = {temperature:.2f}",
                "ECE (lower is better)",
                len(held),
                error(held),
                bootstrap_interval(lambda drawn: error([held[index] for index in drawn]), len(held)),
                None,
            ),
        ]


def run_suite(
    suite: EvalSuite, answerer: Answerer, *, cases_most: int, calibration: Calibration | None = None
) -> SuiteRow:
    """Draw the suite's cases (always the same ones), have them answered, score them."""
    cases = suite.draw(Random(f"{SEED} {suite.name.removesuffix(', held to the list')}"), cases_most)  # noqa: S311
    answers = answerer.answer(cases)
    scores = [suite.score(case, answer) for case, answer in zip(cases, answers, strict=True)]
    if calibration is not None and suite.calibrated:
        calibration.add(suite, cases, answers)
    total = suite.total

    def statistic(indices: list[int]) -> float:
        if total is None:
            return sum(scores[index] for index in indices) / len(indices)
        return total([cases[index] for index in indices], [answers[index] for index in indices])

    everything = list(range(len(cases)))
    binary = total is None and all(score in (0.0, 1.0) for score in scores)
    return SuiteRow(
        suite.name,
        suite.metric,
        len(cases),
        statistic(everything),
        wilson_interval(sum(scores), len(cases)) if binary else bootstrap_interval(statistic, len(cases)),
        suite.bar,
        tuple(suite.baseline(cases)) if suite.baseline else (),
        _groups(cases, scores),
        sum(bool(answer.error) for answer in answers),
    )


def _groups(cases: list[EvalCase], scores: list[float]) -> tuple[tuple[str, float, int], ...]:
    found: dict[str, list[float]] = {}
    for case, score in zip(cases, scores, strict=True):
        found.setdefault(case.group, []).append(score)
    if len(found) < 2:
        return ()
    return tuple((name, sum(values) / len(values), len(values)) for name, values in sorted(found.items()))


def run_scope(answerer: Answerer, *, cases_most: int) -> SuiteRow:
    """AUROC of the model's own confidence between questions in scope and out of it."""
    cases = SCOPE.draw(Random(f"{SEED} {SCOPE.name}"), cases_most)  # noqa: S311
    answers = answerer.answer(cases)
    known = [
        (answer.mean_logprob, case.group != "out of scope")
        for case, answer in zip(cases, answers, strict=True)
        if answer.mean_logprob is not None
    ]

    def statistic(indices: list[int]) -> float:
        return auroc([known[index][0] for index in indices], [known[index][1] for index in indices])

    errors = sum(bool(answer.error) for answer in answers)
    if not known:
        return SuiteRow(SCOPE.name, SCOPE.metric, 0, math.nan, (math.nan, math.nan), SCOPE.bar, errors=errors)
    interval = bootstrap_interval(statistic, len(known))
    return SuiteRow(
        SCOPE.name, SCOPE.metric, len(known), statistic(list(range(len(known)))), interval, SCOPE.bar, errors=errors
    )


def run_validity(answerer: Answerer, *, cases_most: int) -> SuiteRow:
    """Share of the schema-bound answers that are JSON of their schema."""
    suites = [suite for suite in objects.SUITES if suite.score is objects.is_object]
    cases = [case for suite in suites for case in suite.draw(Random(f"{SEED} {suite.name}"), cases_most)]  # noqa: S311
    answers = answerer.answer(cases)
    right = sum(is_valid(case, answer) for case, answer in zip(cases, answers, strict=True))
    interval = wilson_interval(right, len(cases))
    return SuiteRow("valid JSON", "share", len(cases), right / len(cases), interval, 1.0)


def can_run_any(names: Iterable[str] = ()) -> bool:
    """Whether a suite whose name begins with one of `names` (none given: any) has its data set on this machine."""
    wanted = tuple(names)
    for suite in (*SUITES, SCOPE):
        if not wanted or suite.name.startswith(wanted):
            try:
                suite.draw(Random(SEED), 6)  # noqa: S311
                return True
            except DataMissing:
                continue
    return not wanted or "valid JSON".startswith(wanted)


def run_suites(
    answerer: Answerer,
    *,
    cases_most: int = DEFAULT_CASES,
    names: Iterable[str] = (),
    told: Callable[[SuiteRow], None] = lambda row: None,
    calibration: Calibration | None = None,
    left_out: Callable[[str], None] | None = None,
) -> list[SuiteRow]:
    """Run the suites whose names begin with one of `names` (none given: all); `told` hears of each row at once.

    `calibration` gathers the answers of the calibrated suites, for whoever wants more of them than the figures.
    `left_out` hears the name of each suite whose data set is not on this machine.

    Raises: DataMissing for such a suite, if nobody wants to hear of it.
    """
    wanted = tuple(names)
    calibration = calibration or Calibration()
    rows: list[SuiteRow] = []

    def keep(row: SuiteRow) -> None:
        rows.append(row)
        told(row)

    def run_one(name: str, run: Callable[[], SuiteRow]) -> None:
        if wanted and not name.startswith(wanted):
            return
        try:
            keep(run())
        except DataMissing:
            if left_out is None:
                raise
            left_out(name)

    for suite in SUITES:
        run_one(suite.name, partial(run_suite, suite, answerer, cases_most=cases_most, calibration=calibration))
    run_one(SCOPE.name, partial(run_scope, answerer, cases_most=cases_most))
    run_one("valid JSON", partial(run_validity, answerer, cases_most=cases_most // 2))
    for row in calibration.rows():
        keep(row)
    return rows


def render_rows(rows: Iterable[SuiteRow]) -> str:
    """The report as a Markdown table."""
    lines = ["| suite | metric | n | score | 95 % | bar | met | baselines |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        low, high = row.interval
        met = {None: "", True: "yes", False: "**no**"}[row.passed]
        bar = "" if row.bar is None else f"{row.bar:.2f}"
        beside = "; ".join(f"{name} {score:.3f}" for name, score in row.baselines)
        lines.append(
            f"| {row.name} | {row.metric} | {row.cases} | {row.score:.3f} | {low:.3f} to {high:.3f} | {bar} | {met} "
            f"| {beside} |"
        )
        if row.groups and len(row.groups) <= 8:
            lines += [f"| - {name} | | {count} | {score:.3f} | | | | |" for name, score, count in row.groups]
    return "\n".join(lines)
