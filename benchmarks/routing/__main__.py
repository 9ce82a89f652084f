"""python -m benchmarks.routing: every figure of docs/concepts/routing.md that needs no server.

Needs the data set `routing` (`scripts/data list` says where it comes from). Writes a Markdown report to the terminal,
and the same as JSON with --json FILE. `--quick` draws fewer resamples. One core; set OMP_NUM_THREADS=1 for steady
times.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.needs import need_data
from benchmarks.routing.data import (
    Pair,
    TokenCounter,
    load_gsm8k,
    load_mmlu,
    load_mmlu_pro,
    load_mtbench,
    load_zeroeval,
)
from benchmarks.routing.floor import Truth, run_floor
from benchmarks.routing.heads import category_means, cross_fit, disagreement, few_labels, fit_transfer, score_all
from benchmarks.routing.metrics import Metrics, bootstrap, measure, share_for_quality
from benchmarks.routing.report import TWO, render
from benchmarks.routing.stream import HAIKU, OPUS, SIBLING_PRICES, build_stream, price_all, run_stream
from renga.protocols.messages.decode import MessageRequest, Turn
from renga.routing.triage.learned_head import LearnedHead
from renga.routing.triage.scorer import Scorer, load_prior

Floats = NDArray[np.float64]
Report = dict[str, Any]
RATIO = 0.99


@dataclasses.dataclass(frozen=True)
class Effort:
    """How often things are drawn."""

    bootstraps: int
    resamples: int
    splits: int
    learnings: int
    decisions: int


FULL = Effort(bootstraps=300, resamples=300, splits=20, learnings=8, decisions=20_000)
QUICK = Effort(bootstraps=10, resamples=30, splits=1, learnings=1, decisions=2_000)


def run(effort: Effort) -> Report:
    """Measure everything."""
    counter, prior = TokenCounter(), load_prior()
    mmlu, gsm8k, zeroeval = load_mmlu(counter), load_gsm8k(counter), load_zeroeval(counter)
    scores = {pair.name: score_all(prior, pair.features) for pair in (mmlu, gsm8k, zeroeval)}
    transfer = fit_transfer(prior)
    verified = [verify_rows(pair, scores[pair.name], effort) for pair in (gsm8k, zeroeval)]
    pairs = [mmlu, gsm8k, zeroeval, load_mmlu_pro(counter), load_mtbench(counter)]
    return {
        "tokens": counter.name,
        "effort": dataclasses.asdict(effort),
        "prompt_only": [prompt_rows(pair, prior, transfer, effort) for pair in (mmlu, gsm8k)],
        "verify": verified,
        "dollars": dollar_rows(zeroeval, scores[zeroeval.name]),
        "floor": [
            dataclasses.asdict(row) for row in run_floor(build_truths(mmlu, gsm8k, zeroeval, scores), effort.resamples)
        ],
        "stream": stream_rows(pairs, effort),
        "decision": time_decisions(prior, gsm8k, effort.decisions, counter),
    }


def prompt_rows(pair: Pair, prior: LearnedHead, transfer: LearnedHead, effort: Effort) -> Report:
    """Routers that see the prompt only, on one set, with the baselines."""
    features = pair.features
    length = np.asarray([found.dense[0] for found in features])
    routers = {
        "random": np.zeros(len(length)),
        "prompt length, no training": length,
        "shipped prior: length + rarity, no labels": score_all(prior, features),
        "head fitted on MMLU-Pro": score_all(transfer, features),
        "own head, 5-fold cross-fitted": cross_fit(pair, features, prior),
    }
    if any(pair.category):
        routers["category mean (in-sample)"] = category_means(pair)
    routers["oracle (in-sample)"] = pair.losses
    rows = {name: _intervals(difficulty, pair.losses, effort) for name, difficulty in routers.items()}
    for labels in (100, 300):
        rows[f"own head, {labels} labels, on the rest"] = _learning_row(pair, prior, labels, effort.learnings)
    return {"set": pair.name, "prompts": len(length), "small": pair.small, "top": pair.top, "routers": rows}


def verify_rows(pair: Pair, prior_scores: Floats, effort: Effort) -> Report:
    """Agreement of the small model with each sibling, on one set."""
    rows: Report = {}
    for index, sibling in enumerate(pair.siblings):
        difficulty = disagreement(pair, pair.votes[:, index], prior_scores)
        rows[sibling] = _verify_row(pair, difficulty, float(pair.votes[:, index].mean()), effort)
    asked = pair.asked()
    two = disagreement(pair, asked.agreement, prior_scores)
    rows[TWO] = _verify_row(pair, two, float((asked.agreement > 0.0).mean()), effort)
    length = np.asarray([found.dense[0] for found in pair.features])
    rows["random"] = _verify_row(pair, np.zeros(len(length)), None, effort)
    rows["prompt length, no training"] = _verify_row(pair, length, None, effort)
    rows["oracle (in-sample)"] = _verify_row(pair, pair.losses, None, effort)
    return {
        "set": pair.name,
        "prompts": len(pair.prompts),
        "small_score": float(pair.small_score.mean()),
        "top_score": float(pair.top_score.mean()),
        "chosen": pair.siblings[pair.consensus()[0]],
        "next": pair.siblings[pair.consensus()[1]],
        "routers": rows,
    }


def dollar_rows(pair: Pair, prior_scores: Floats) -> list[Report]:
    """What 99 % of the top model costs with every answer paid: first, seconds, and top where escalated.

    Second answers are priced as if haiku gave them, and at the dearest published price of the models that did. Of
    answers that are disputed alike, the hardest by the prior go up first, or those that are expected to be cheapest at
    the top: their prompts' tokens, and as many of output as the small model wrote.
    """
    first, following = pair.consensus()
    one, asked = pair.votes[:, first], pair.asked()
    small = price_all(HAIKU, pair.prompt_tokens, pair.small_tokens)
    top = price_all(OPUS, pair.prompt_tokens, pair.top_tokens)
    expected = price_all(OPUS, pair.prompt_tokens, pair.small_tokens)
    own = [
        price_all(SIBLING_PRICES[pair.siblings[index]], pair.prompt_tokens, pair.sibling_tokens[:, index])
        for index in (first, following)
    ]
    evidence = (
        ("one second", one, small, own[0]),
        (TWO, asked.agreement, small * asked.seconds, own[0] + np.where(asked.seconds > 1.0, own[1], 0.0)),
    )
    rows: list[Report] = []
    for name, agreement, as_haiku, as_priced in evidence:
        for priced, second in (("seconds at haiku's price", as_haiku), ("seconds at their own", as_priced)):
            for order, rank in (("the prior", prior_scores), ("expected price", -expected)):
                escalated = _escalated(pair, disagreement(pair, agreement, rank))
                parts = [each.sum() / top.sum() for each in (top[escalated], small, second)]
                rows.append(
                    {
                        "set": pair.name,
                        "name": f"{name}, {priced}, ties by {order}",
                        "calls": float(escalated.mean()),
                        "top_share": float(parts[0]),
                        "first_share": float(parts[1]),
                        "second_share": float(parts[2]),
                        "spent_share": float(sum(parts)),
                    }
                )
    return rows


def _escalated(pair: Pair, difficulty: Floats) -> NDArray[np.bool_]:
    """Who goes up so that 99 % of the top model's quality is reached with the fewest calls."""
    share = share_for_quality(difficulty, pair.small_score, pair.top_score, RATIO)
    escalated = np.zeros(len(difficulty), np.bool_)
    escalated[np.argsort(-difficulty, kind="stable")[: round(share * len(difficulty))]] = True
    return escalated


def build_truths(mmlu: Pair, gsm8k: Pair, zeroeval: Pair, scores: dict[str, Floats]) -> list[Truth]:
    """The floor's three pairs: by the prompt alone, and twice by agreement."""
    truths = [_truth(mmlu, -scores[mmlu.name], None)]
    for pair in (gsm8k, zeroeval):
        asked = pair.asked()
        truths.append(_truth(pair, -disagreement(pair, asked.agreement, scores[pair.name]), asked.seconds))
    return truths


def stream_rows(pairs: list[Pair], effort: Effort) -> list[Report]:
    """The mixed stream under three assumptions about the one length that is not known."""
    rows: list[Report] = []
    for scale in (1.0, 0.5, 0.02):
        stream = build_stream(pairs, scale)
        splits = effort.splits if scale == 1.0 else max(1, effort.splits // 4)
        results = [run_stream(stream, seed) for seed in range(splits)]
        rows.append(
            {
                "reasoned_scale": scale,
                "splits": splits,
                "requests": int(np.mean([result.requests for result in results])),
                "saved": float(np.mean([result.saved for result in results])),
                "saved_min": float(min(result.saved for result in results)),
                "quality": float(np.mean([result.quality_ratio for result in results])),
                "quality_min": float(min(result.quality_ratio for result in results)),
                "below_98": float(np.mean([result.quality_ratio < 0.98 for result in results])),
                "kept": float(np.mean([result.kept for result in results])),
                "hindsight_saved": float(np.mean([result.hindsight_saved for result in results])),
                "saved_by_length": float(np.mean([result.saved_by_length for result in results])),
                "kept_by_set": {
                    name: float(np.mean([one.kept_by_set[name] for one in results])) for name in stream.sets
                },
                "spend_by_set": {
                    name: float(stream.top_cost[stream.set_index == index].sum() / stream.top_cost.sum())
                    for index, name in enumerate(stream.sets)
                },
            }
        )
    return rows


def time_decisions(prior: LearnedHead, pair: Pair, decisions: int, counter: TokenCounter) -> Report:
    """How long triage takes for a request of 500 tokens, by the core's time and by the wall's. 200 texts take turns."""
    scorer, requests, random = Scorer(prior), [], np.random.default_rng(0)
    for _ in range(200):
        text = ""
        while counter.count([text])[0] < 500:
            text += pair.prompts[random.integers(len(pair.prompts))] + "\n"
        requests.append(MessageRequest(model="auto", messages=(Turn("user", text),), max_tokens=512))
    wall_us: list[float] = []
    core_us: list[float] = []
    for index in range(decisions):
        request = requests[index % len(requests)]
        wall, core = time.perf_counter_ns(), time.thread_time_ns()
        scorer.decide(request)
        core_us.append((time.thread_time_ns() - core) / 1e3)
        wall_us.append((time.perf_counter_ns() - wall) / 1e3)
    found = {"decisions": float(decisions)}
    for name, taken in (("core", core_us), ("wall", wall_us)):
        p50, p99 = np.percentile(taken, (50, 99))
        found |= {f"{name}_p50_us": float(p50), f"{name}_p99_us": float(p99)}
    return found


def _truth(pair: Pair, evidence: Floats, seconds: Floats | None) -> Truth:
    small = price_all(HAIKU, pair.prompt_tokens, pair.small_tokens)
    top = price_all(OPUS, pair.prompt_tokens, pair.top_tokens)
    kept = small if seconds is None else small * (1.0 + seconds)
    return Truth(pair.name, pair.losses, evidence, kept, top, tried=seconds is not None)


def _verify_row(pair: Pair, difficulty: Floats, agrees: float | None, effort: Effort) -> Report:
    calls = share_for_quality(difficulty, pair.small_score, pair.top_score, RATIO)
    return _intervals(difficulty, pair.losses, effort) | {"agrees": agrees, "calls_at_99": calls}


def _learning_row(pair: Pair, prior: LearnedHead, labels: int, draws: int) -> Report:
    """The mean over draws of the labels, with the range of the draws."""
    found: list[Metrics] = []
    for seed in range(draws):
        scores, rows = few_labels(pair, prior, labels, seed)
        found.append(measure(scores, pair.losses[rows]))
    columns = {name: [getattr(one, name) for one in found] for name in ("apgr", "cpt50", "cpt80")}
    return {
        name: {"value": float(np.mean(values)), "low": min(values), "high": max(values)}
        for name, values in columns.items()
    }


def _intervals(difficulty: Floats, losses: Floats, effort: Effort) -> Report:
    found = bootstrap(difficulty, losses, effort.bootstraps)
    assert found["apgr"].value == measure(difficulty, losses).apgr
    return {name: dataclasses.asdict(interval) for name, interval in found.items()}


def main() -> None:
    """Parse the options, measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few resamples, for a look")
    parser.add_argument("--json", type=Path, help="also write the report as JSON here")
    options = parser.parse_args()
    need_data("routing")
    started = time.perf_counter()
    report = run(QUICK if options.quick else FULL)
    report["wall_s"] = time.perf_counter() - started
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(render(report))


if __name__ == "__main__":
    main()
