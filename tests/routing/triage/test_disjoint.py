"""No evaluated prompt is in anything that a router of the benchmark was fitted on."""

import numpy as np
import pytest
from benchmarks.routing.data import normalize_prompt, read_rows
from benchmarks.routing.heads import FOLDS, fold_prompts

from renga.routing.triage.features import read_text
from renga.routing.triage.scorer import load_prior
from renga.services.evals.datasets.locations import missing_reason

needs_data = pytest.mark.skipif(bool(missing_reason("routing")), reason=missing_reason("routing"))
EVALUATED = ("routellm-mmlu", "routellm-gsm8k", "routellm-mtbench", "zeroeval-gsm8k")


@needs_data
def test_the_prior_and_the_transferred_head_saw_no_evaluated_prompt() -> None:
    fitted_on = {normalize_prompt(row["prompt"]) for row in read_rows("mmlu-pro")}
    for name in EVALUATED:
        evaluated = {normalize_prompt(row["prompt"]) for row in read_rows(name)}
        assert not evaluated & fitted_on, name


@needs_data
def test_the_shipped_prior_was_counted_on_the_set_that_it_names() -> None:
    rows = [read_text(row["prompt"]) for row in read_rows("mmlu-pro")[:50]]
    head = load_prior()
    assert head.card.rows == 0
    assert np.std([head.score(found) for found in rows]) > 0.1


def test_folds_never_share_a_prompt() -> None:
    prompts = tuple(f"Question {n % 37}?{' ' * (n % 3)}\nA. {n}" for n in range(200))
    folds = fold_prompts(prompts)
    seen: dict[str, int] = {}
    for prompt, fold in zip(prompts, folds.tolist(), strict=True):
        assert seen.setdefault(normalize_prompt(prompt), fold) == fold
    assert set(folds.tolist()) <= set(range(FOLDS))
