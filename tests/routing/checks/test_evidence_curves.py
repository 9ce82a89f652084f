"""Curves: fitted where there are labels, sealed, and for one target only."""

from pathlib import Path

import numpy as np
import pytest

from renga.config import PolicySettings
from renga.errors import ConfigError
from renga.routing.checks.evidence_curves import decode_curves, encode_curves, fit_curves
from renga.routing.outcomes.outcome_file import OutcomeRow, Outcomes, RequestSignals
from renga.routing.policy.policy_rules import build_rules


def outcomes(count: int) -> Outcomes:
    """Answers that are right with the probability that their tokens claim."""
    draw = np.random.default_rng(1)
    claimed = draw.uniform(0.05, 0.99, count)
    right = draw.uniform(size=count) < claimed
    return Outcomes(
        tuple(
            OutcomeRow(
                str(at), {"haiku": float(right[at])}, evidence=RequestSignals(mean_logprob=float(np.log(claimed[at])))
            )
            for at in range(count)
        ),
        "0" * 64,
        "outcomes.jsonl",
    )


@pytest.mark.parametrize("count", [400, 2_000])
def test_a_curve_says_what_the_evidence_is_worth(count: int) -> None:
    fitted = fit_curves(outcomes(count), "haiku", "local/hokku")
    assert fitted.curves["logprob"].error < 0.08
    curve = decode_curves(encode_curves(fitted), "curves.json")["local/hokku"]["logprob"]
    assert abs(curve.probability(float(np.log(0.9))) - 0.9) < 0.1
    assert abs(curve.probability(float(np.log(0.3))) - 0.3) < 0.15


def test_too_few_labels_make_no_curve() -> None:
    with pytest.raises(ConfigError, match="no evidence is in at least 200 rows"):
        fit_curves(outcomes(199), "haiku", "local/hokku")


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "curves.json"
    data = encode_curves(fit_curves(outcomes(300), "haiku", "local/hokku"))
    for broken, said in ((data.replace(b"local/hokku", b"local/other"), "changed"), (data[:-9], "no curves")):
        file.write_bytes(broken)
        with pytest.raises(ConfigError, match=said) as refused:
            build_rules("auto", PolicySettings(curves=str(file)))
        assert refused.value.path == str(file)


def test_a_curve_is_for_its_target_alone(tmp_path: Path) -> None:
    file = tmp_path / "curves.json"
    file.write_bytes(encode_curves(fit_curves(outcomes(300), "haiku", "local/hokku")))
    rules = build_rules("auto", PolicySettings(curves=str(file)))
    assert "logprob" in rules.checks_for("local/hokku").curves
    assert "logprob" not in rules.checks_for("vllm/other").curves
