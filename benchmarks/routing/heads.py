"""Difficulty scores for the prompt-only and the verify rows, each with what it was fitted on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.routing.data import GEMINI_PRO, Pair, normalize_prompt, read_rows
from renga.routing.triage.features import Features, read_text
from renga.routing.triage.learned_head import LabelledFeatures, LearnedHead, fit_head

Floats = NDArray[np.float64]
FOLDS = 5
TRANSFER_SMALL = "Mixtral-8x7B-Instruct-v0.1"
TIE_BREAK = 1e-3
"""What the prior may add to a difficulty that is agreement: it orders the rows that tie and no others."""


def score_all(head: LearnedHead, features: list[Features]) -> Floats:
    """A head's difficulty of every prompt."""
    return np.asarray([head.score(found) for found in features])


def fit_transfer(prior: LearnedHead) -> LearnedHead:
    """A head fitted on MMLU-Pro's labels alone, to be used on other sets."""
    rows = [
        row
        for row in read_rows("mmlu-pro")
        if row["correct"].get(GEMINI_PRO) is not None and row["correct"].get(TRANSFER_SMALL) is not None
    ]
    losses = np.asarray([row["correct"][GEMINI_PRO] - row["correct"][TRANSFER_SMALL] for row in rows], np.float64)
    return fit_head(LabelledFeatures([read_text(row["prompt"]) for row in rows], losses, "", ""), prior)


def fold_prompts(prompts: tuple[str, ...], folds: int = FOLDS) -> NDArray[np.int64]:
    """Each prompt's fold; prompts that are the same but for white space and case share one."""
    keys, index = np.unique([normalize_prompt(prompt) for prompt in prompts], return_inverse=True)
    return np.random.default_rng(0).permutation(len(keys))[index] % folds


def cross_fit(pair: Pair, features: list[Features], prior: LearnedHead) -> Floats:
    """Each prompt's score by a head that was fitted on the other folds of its own set."""
    fold, scores = fold_prompts(pair.prompts), np.zeros(len(features))
    for held_out in range(FOLDS):
        fitted, scored = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
        head = fit_head(LabelledFeatures([features[row] for row in fitted], pair.losses[fitted], "", ""), prior)
        scores[scored] = score_all(head, [features[row] for row in scored])
    return scores


def few_labels(pair: Pair, prior: LearnedHead, labels: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """The scores of a head with few labels, on the prompts that it has not seen, and which those are."""
    features = pair.features
    keys, index = np.unique([normalize_prompt(prompt) for prompt in pair.prompts], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(keys))
    fitted = np.flatnonzero(np.isin(index, order[:labels]))
    scored = np.flatnonzero(~np.isin(index, order[:labels]))
    head = fit_head(LabelledFeatures([features[row] for row in fitted], pair.losses[fitted], "", ""), prior)
    return score_all(head, [features[row] for row in scored]), scored


def category_means(pair: Pair) -> Floats:
    """Each category's mean loss, looked up in the evaluated set itself: marked in-sample wherever it is shown."""
    _, index = np.unique(pair.category, return_inverse=True)
    return (np.bincount(index, pair.losses) / np.bincount(index))[index]


def disagreement(pair: Pair, agreement: Floats, prior_scores: Floats) -> Floats:
    """Difficulty after the small model answered: faulty and disputed answers first, ties by the prior."""
    order = np.argsort(np.argsort(prior_scores)) / len(prior_scores)
    return np.maximum(1.0 - agreement, pair.faulty) + TIE_BREAK * order
