"""A certificate is proven, sealed and refused when broken; too little data keeps nothing."""

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from renga.errors import ConfigError
from renga.route.floor import (
    Certificate,
    Question,
    Refusal,
    build_sample,
    calibrate,
    calibrate_groups,
    decode_certificate,
    encode_certificate,
    equalize_propensity,
    rows_needed,
    search,
)
from renga.route.floor import Sample as Columns
from renga.route.outcomes import OutcomeRow, Outcomes, Signals

QUESTION = Question("haiku", "opus", 2.0, created_on="2026-11-21")


def draw_rows(count: int, seed: int, group: str = "", weakness: float = 0.6) -> tuple[OutcomeRow, ...]:
    """Haiku's chance rises with the evidence from 1 - weakness to 1; opus is always right."""
    random = np.random.default_rng(seed)
    evidence = random.random(count)
    right = random.random(count) < 1.0 - weakness * (1.0 - evidence) ** 2
    return tuple(
        OutcomeRow(
            id=f"{group}{n}",
            scores={"haiku": float(right[n]), "opus": 1.0},
            group=group,
            evidence=Signals(confidence=float(evidence[n])),
            costs_nano_usd={"haiku": 100, "opus": 4_000},
            check_nano_usd=100,
        )
        for n in range(count)
    )


def outcomes(count: int, seed: int = 0) -> Outcomes:
    return Outcomes(draw_rows(count, seed), "ab" * 32)


@pytest.fixture(scope="module")
def found() -> Certificate:
    """A certificate, found once."""
    certificate = calibrate(outcomes(1_000), QUESTION)
    assert isinstance(certificate, Certificate)
    return certificate


def test_a_certificate_says_what_was_proven(found: Certificate) -> None:
    assert found.method == "exact"
    assert found.loss_points < found.bound_points <= 2.0
    assert 0.2 < found.kept_share < 0.7
    assert found.saving_low < found.saving_share < found.saving_high
    assert found.saving_share == pytest.approx(found.kept_share - 0.05, abs=1e-9)
    assert (found.rows, found.data_sha256, found.created_on) == (1_000, "ab" * 32, "2026-11-21")


def test_too_few_labels_say_so() -> None:
    found = calibrate(outcomes(100), QUESTION)
    assert isinstance(found, Refusal)
    assert (found.reason, found.rows, found.rows_needed) == ("too_few_rows", 100, 114)
    assert "Everything is escalated" in found.detail


def test_a_floor_that_nothing_holds_is_refused() -> None:
    rows = tuple(replace(row, scores={"haiku": 0.0, "opus": 1.0}) for row in draw_rows(400, 0))
    found = calibrate(Outcomes(rows, "x"), QUESTION)
    assert isinstance(found, Refusal)
    assert found.reason == "no_threshold_passes"


def test_rows_without_the_evidence_are_never_kept() -> None:
    rows = tuple(replace(row, evidence=Signals()) for row in draw_rows(400, 0))
    assert isinstance(calibrate(Outcomes(rows, "x"), QUESTION), Refusal)


@pytest.mark.parametrize(("floor", "confidence"), [(0.0, 0.9), (100.0, 0.9), (2.0, 1.0), (2.0, 0.3)])
def test_a_question_that_makes_no_sense_is_refused(floor: float, confidence: float) -> None:
    with pytest.raises(ConfigError):
        calibrate(outcomes(300), Question("haiku", "opus", floor, confidence))


def test_the_floor_holds_in_nine_of_ten_resamples() -> None:
    broken, draws = 0, 200
    for seed in range(draws):
        random = np.random.default_rng(seed)
        evidence = random.random(300)
        losses = (random.random(300) < 0.6 * (1.0 - evidence) ** 2).astype(float)
        passed = search(Columns(losses, evidence, np.zeros(300), np.ones(300)), QUESTION, "exact")
        if passed:
            broken += 0.2 * (1.0 - passed[-1].threshold) ** 3 > 0.02
    assert broken / draws <= 0.1 + 3 * np.sqrt(0.09 / draws)


def test_a_looser_floor_never_keeps_less() -> None:
    sample = build_sample(outcomes(1_000).rows, QUESTION)
    kept = []
    for points in (1.0, 2.0, 4.0, 8.0):
        passed = search(sample, Question("haiku", "opus", points), "exact")
        kept.append(passed[-1].kept_share if passed else 0.0)
    assert kept == sorted(kept)
    assert kept[-1] > kept[0]


def test_triage_scores_keep_from_below(found: Certificate) -> None:
    rows = tuple(
        replace(row, evidence=Signals(triage=-(row.evidence.confidence or 0.0))) for row in draw_rows(1_000, 0)
    )
    question = replace(QUESTION, ranking="triage")
    by_score = search(build_sample(rows, question), question, "exact")
    assert by_score[-1].kept_share == found.kept_share


def test_a_certificate_survives_its_file(found: Certificate) -> None:
    assert decode_certificate(encode_certificate(found)) == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 0.0}, "changed after it was written"),
        ({"rows": 9_999}, "changed after it was written"),
        ({"format": 7}, "format 7 is not 1"),
        ({"kept_share": "all"}, "not a certificate"),
        ({"extra": 1}, "not a certificate"),
    ],
)
def test_a_broken_certificate_is_refused(found: Certificate, change: dict[str, object], said: str) -> None:
    fields = msgspec.json.decode(encode_certificate(found)) | change
    with pytest.raises(ConfigError, match=said) as caught:
        decode_certificate(msgspec.json.encode(fields), "floor.json")
    assert caught.value.path == "floor.json"


def test_a_sealed_certificate_that_proves_too_little_is_refused(found: Certificate) -> None:
    with pytest.raises(ConfigError, match="does not hold its floor"):
        decode_certificate(encode_certificate(replace(found, bound_points=5.0)))


def test_small_groups_take_the_proof_of_all_and_weak_ones_a_stricter_threshold() -> None:
    weak_rows = [
        replace(row, scores={"haiku": float(n % 2), "opus": 1.0}) for n, row in enumerate(draw_rows(60, 3, "weak"))
    ]
    rows = (*draw_rows(1_000, 1, "big"), *draw_rows(60, 2, "calm", 0.2), *weak_rows)
    everyone = Outcomes(rows, "x")
    by_group = calibrate_groups(everyone, QUESTION)
    loosest = search(build_sample(rows, QUESTION), QUESTION, "exact")[-1].threshold
    calm, weak, big = (by_group[name] for name in ("calm", "weak", "big"))
    assert isinstance(big, Certificate) and big.rows == 1_000 and big.group_rows == 0
    assert isinstance(calm, Certificate) and calm.threshold == loosest and calm.group_rows == 60
    assert isinstance(weak, Certificate) and weak.threshold > loosest
    assert decode_certificate(encode_certificate(weak)) == weak


def test_labels_that_were_drawn_more_often_are_thinned() -> None:
    rows = tuple(replace(row, propensity=1.0 if n % 2 else 0.25) for n, row in enumerate(draw_rows(2_000, 0)))
    kept = equalize_propensity(rows)
    often = sum(int(row.id) % 2 for row in kept)
    assert len(kept) - often == 1_000
    assert 180 < often < 320
    assert {row.propensity for row in kept} == {0.25}


def test_labels_needed_without_a_loss() -> None:
    assert [rows_needed(points / 100, 0.9) for points in (1, 2, 5)] == [230, 114, 45]


def test_equalizing_twice_drops_nothing_more() -> None:
    rows = outcomes(400).rows
    mixed = tuple(replace(row, propensity=1.0 if index % 2 else 0.5) for index, row in enumerate(rows))
    once = equalize_propensity(mixed)
    assert 200 <= len(once) < 400
    assert equalize_propensity(once) == once


def test_a_certificate_of_other_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a certificate"):
        decode_certificate(b'{"format": "\xff"}')
