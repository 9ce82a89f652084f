"""A mixed stream: all shared sets in one, with real token counts and today's prices, routed by dollars under one floor.

Requests are split by prompt: 10 k are routed; of the rest one half fits the heads and curves, the other proves the
threshold. The evidence is the expected loss per dollar saved, so that the floor's points are spent where they buy
most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.data import Pair, normalize_prompt
from renga.routing.certificates.certificate import CertificateQuestion, Sample, search
from renga.routing.certificates.loss_bounds import default_method
from renga.routing.checks.calibration import fit_blend
from renga.routing.costs.cost_model import PriceRow, PriceStep, StageLoad, price_attempt
from renga.routing.triage.features import Features
from renga.routing.triage.learned_head import LabelledFeatures, build_prior, fit_head

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HAIKU = PriceRow(
    "anthropic/claude-haiku-5-5",
    (PriceStep(100_000, 100, 500, 10, 125, 200), PriceStep(None, 500, 2_500, 50, 625, 1_000)),
)
OPUS = PriceRow("anthropic/claude-opus-5-5", (PriceStep(None, 4_000, 20_000, 200, 5_000, 8_000),))
"""Nano-dollars per token.

Source: docs/reference/messages-api.md, "Model ids and prices", and genai-prices 0.2.3, both of 2026-11-21.
"""
SIBLING_PRICES = {
    name: PriceRow(
        name, (PriceStep(None, input_nano_usd, output_nano_usd, input_nano_usd, input_nano_usd, input_nano_usd),)
    )
    for name, input_nano_usd, output_nano_usd in (
        ("gemma-2-2b-it", 200, 200),
        ("gemma-2-9b-it", 200, 200),
        ("Meta-Llama-3.1-8B-Instruct", 282, 827),
        ("Phi-3.5-mini-instruct", 130, 520),
        ("Qwen2-7B-Instruct", 54, 54),
    )
}
"""The dearest price that genai-prices 0.2.3 lists for each, in nano-dollars per token: groq, groq (of the 9 B model,
the 2 B one has none), cloudflare, azure, novita. None has a price for cached prompts."""
REQUESTS = 10_000
QUALITY_RATIO = 0.98
FLOOR_POINTS = 1.2
"""2 % of this stream's top tier (0.756) is 1.5 points. The floor is proven for the expectation; 0.3 points are left for
the noise of 10 k requests, so that what is measured on them stays above 98 % too."""


@dataclass(frozen=True)
class Stream:
    """All requests as columns."""

    sets: tuple[str, ...]
    set_index: NDArray[np.int64]
    prompts: tuple[str, ...]
    features: tuple[Features, ...]
    small: Floats
    top: Floats
    checks: Floats
    """(N, 3): share of seconds that agree, whether all do, whether the answer is faulty. Zeros where answers are not
    known."""
    tried: Mask
    """Whether the small tier answers before it is decided."""
    kept_cost: Floats
    top_cost: Floats


@dataclass(frozen=True)
class StreamResult:
    """One split of the stream."""

    requests: int
    quality_ratio: float
    saved: float
    kept: float
    hindsight_saved: float
    kept_by_set: dict[str, float]
    saved_by_length: float
    """By the same number of points spent in the order of prompt length, with hindsight: the comparison without
    evidence."""


def build_stream(pairs: list[Pair], reasoned_scale: float = 1.0) -> Stream:
    """Put the sets together. `reasoned_scale` multiplies MMLU-Pro's assumed answer length."""
    checks, tried, kept_cost, top_cost = [], [], [], []
    for pair in pairs:
        scale = reasoned_scale if pair.name == "MMLU-Pro" else 1.0
        has_answers = pair.votes.size > 0
        seconds = pair.asked().seconds if has_answers else 0.0
        checks.append(_checks(pair))
        tried.append(np.full(len(pair.prompts), has_answers))
        small_cost = price_all(HAIKU, pair.prompt_tokens, pair.small_tokens * scale)
        kept_cost.append(small_cost * (1 + seconds))
        top_cost.append(price_all(OPUS, pair.prompt_tokens, pair.top_tokens * scale))
    return Stream(
        tuple(pair.name for pair in pairs),
        np.repeat(np.arange(len(pairs)), [len(pair.prompts) for pair in pairs]),
        tuple(normalize_prompt(prompt) for pair in pairs for prompt in pair.prompts),
        tuple(found for pair in pairs for found in pair.features),
        np.concatenate([pair.small_score for pair in pairs]),
        np.concatenate([pair.top_score for pair in pairs]),
        np.concatenate(checks),
        np.concatenate(tried),
        np.concatenate(kept_cost),
        np.concatenate(top_cost),
    )


def run_stream(stream: Stream, seed: int) -> StreamResult:
    """Split, fit, prove, route."""
    test, fit, proof = split_stream(stream, seed)
    losses = stream.top - stream.small
    evidence = -expect_losses(stream, fit, seed) / (stream.top_cost - stream.kept_cost)
    sample = Sample(losses[proof], evidence[proof], stream.kept_cost[proof], stream.top_cost[proof])
    passed = search(sample, CertificateQuestion("haiku", "opus", FLOOR_POINTS), default_method(sample.losses))
    threshold = passed[-1].threshold if passed else np.inf
    kept = evidence[test] >= threshold
    quality = np.where(kept, stream.small[test], stream.top[test]).mean() / stream.top[test].mean()
    return StreamResult(
        int(test.sum()),
        float(quality),
        _saved(stream, test, kept),
        float(kept.mean()),
        _saved(stream, test, _hindsight(losses[test], evidence[test], stream.top[test])),
        {name: float(kept[stream.set_index[test] == index].mean()) for index, name in enumerate(stream.sets)},
        _saved(stream, test, _hindsight(losses[test], -_lengths(stream, test), stream.top[test])),
    )


def split_stream(stream: Stream, seed: int) -> tuple[Mask, Mask, Mask]:
    """(routed, fitted on, proven on), disjoint by prompt."""
    keys, index = np.unique(np.asarray(stream.prompts), return_inverse=True)
    draw = np.random.default_rng(seed).random(len(keys))[index]
    share = REQUESTS / len(stream.prompts)
    test = draw < share
    fit = draw >= share + (1.0 - share) / 2.0
    return test, fit, ~test & ~fit


def expect_losses(stream: Stream, fit: Mask, seed: int) -> Floats:
    """Per request, the expected loss of keeping it: per set a head on one half of the fitted rows, a blend on the
    other."""
    losses, expected = stream.top - stream.small, np.zeros(len(stream.top))
    prior = build_prior([stream.features[row] for row in np.flatnonzero(fit)], "", "")
    for index in range(len(stream.sets)):
        rows = np.flatnonzero(stream.set_index == index)
        own = np.random.default_rng(seed).permutation(rows[fit[rows]])
        for_head, for_blend = own[: len(own) // 2], own[len(own) // 2 :]
        head = fit_head(LabelledFeatures([stream.features[row] for row in for_head], losses[for_head], "", ""), prior)
        scores = np.asarray([head.score(stream.features[row]) for row in rows])
        columns = np.column_stack([scores, stream.checks[rows]])
        place = np.searchsorted(rows, for_blend)
        expected[rows] = fit_blend(columns[place], losses[for_blend]).expected_losses(columns)
    return expected


def price_all(row: PriceRow, prompt_tokens: Floats, output_tokens: Floats) -> Floats:
    """What each request costs at a target, in nano-dollars."""
    priced = [
        price_attempt(row, StageLoad(int(prompt), max(1, round(output))))
        for prompt, output in zip(prompt_tokens, output_tokens, strict=True)
    ]
    return np.asarray(priced, np.float64)


def _checks(pair: Pair) -> Floats:
    if not pair.votes.size:
        return np.zeros((len(pair.prompts), 3))
    agreement = pair.asked().agreement
    return np.column_stack([agreement, agreement == 1.0, pair.faulty])


def _saved(stream: Stream, test: Mask, kept: Mask) -> float:
    tried = np.where(stream.tried, stream.kept_cost, 0.0)[test]
    spent = np.where(kept, stream.kept_cost[test], stream.top_cost[test] + tried)
    return 1.0 - float(spent.sum() / stream.top_cost[test].sum())


def _hindsight(losses: Floats, evidence: Floats, top: Floats) -> Mask:
    """Who is kept by one who knows every loss but must follow the evidence's order."""
    order = np.argsort(-evidence, kind="stable")
    allowed = (1.0 - QUALITY_RATIO) * top.sum()
    holding = np.flatnonzero(np.cumsum(losses[order]) <= allowed)
    kept = np.zeros(len(losses), np.bool_)
    if len(holding):
        kept[order[: holding[-1] + 1]] = True
    return kept


def _lengths(stream: Stream, test: Mask) -> Floats:
    return np.asarray([stream.features[row].dense[0] for row in np.flatnonzero(test)])
