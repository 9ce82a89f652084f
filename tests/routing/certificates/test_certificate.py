"""A certificate is proven, sealed and refused when broken; too little data keeps nothing."""

import warnings
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from renga.errors import ConfigError
from renga.routing.certificates.certificate import (
    Certificate,
    CertificateQuestion,
    CertificateRefusal,
    build_sample,
    calibrate,
    calibrate_groups,
    decode_certificate,
    encode_certificate,
    equalize_propensity,
    load_certificate,
    rows_needed,
    search,
)
from renga.routing.certificates.certificate import Sample as Columns
from renga.routing.outcomes.outcome_file import OutcomeRow, Outcomes, RequestSignals

QUESTION = CertificateQuestion("haiku", "opus", 2.0, created_on="2026-11-21")


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
            evidence=RequestSignals(confidence=float(evidence[n])),
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
    assert isinstance(found, CertificateRefusal)
    assert (found.reason, found.rows, found.rows_needed) == ("too_few_rows", 100, 114)
    assert "Everything is escalated" in found.detail


def test_a_floor_that_nothing_holds_is_refused() -> None:
    rows = tuple(replace(row, scores={"haiku": 0.0, "opus": 1.0}) for row in draw_rows(400, 0))
    found = calibrate(Outcomes(rows, "x"), QUESTION)
    assert isinstance(found, CertificateRefusal)
    assert found.reason == "no_threshold_passes"


def test_rows_without_the_evidence_are_never_kept() -> None:
    rows = tuple(replace(row, evidence=RequestSignals()) for row in draw_rows(400, 0))
    assert isinstance(calibrate(Outcomes(rows, "x"), QUESTION), CertificateRefusal)


@pytest.mark.parametrize(("floor", "confidence"), [(0.0, 0.9), (100.0, 0.9), (2.0, 1.0), (2.0, 0.3)])
def test_a_question_that_makes_no_sense_is_refused(floor: float, confidence: float) -> None:
    with pytest.raises(ConfigError):
        calibrate(outcomes(300), CertificateQuestion("haiku", "opus", floor, confidence))


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
        passed = search(sample, CertificateQuestion("haiku", "opus", points), "exact")
        kept.append(passed[-1].kept_share if passed else 0.0)
    assert kept == sorted(kept)
    assert kept[-1] > kept[0]


def test_triage_scores_keep_from_below(found: Certificate) -> None:
    rows = tuple(
        replace(row, evidence=RequestSignals(triage=-(row.evidence.confidence or 0.0))) for row in draw_rows(1_000, 0)
    )
    question = replace(QUESTION, ranking="triage")
    by_score = search(build_sample(rows, question), question, "exact")
    assert by_score[-1].kept_share == found.kept_share


def by_triage(count: int = 1_000) -> Outcomes:
    """The same rows, ranked by a score for which more means harder."""
    rows = tuple(
        replace(row, evidence=RequestSignals(triage=-(row.evidence.confidence or 0.0))) for row in draw_rows(count, 0)
    )
    return Outcomes(rows, "x")


def test_triage_pays_for_no_check_and_for_no_try(found: Certificate) -> None:
    certificate = calibrate(by_triage(), replace(QUESTION, ranking="triage", head_sha256="cd" * 32))
    assert isinstance(certificate, Certificate)
    assert certificate.kept_share == found.kept_share
    assert certificate.saving_share == pytest.approx(certificate.kept_share * (1 - 100 / 4_000), abs=1e-9)
    assert decode_certificate(encode_certificate(certificate)).head_sha256 == "cd" * 32


def test_a_triage_threshold_of_nobodys_head_is_refused() -> None:
    certificate = calibrate(by_triage(), replace(QUESTION, ranking="triage"))
    assert isinstance(certificate, Certificate)
    with pytest.raises(ConfigError, match="which head's scores"):
        decode_certificate(encode_certificate(certificate))


def test_the_threshold_itself_is_kept(found: Certificate) -> None:
    assert found.keeps(RequestSignals(confidence=found.threshold))
    assert not found.keeps(RequestSignals(confidence=np.nextafter(found.threshold, 0.0)))
    assert not found.keeps(RequestSignals(agreement=1.0)), "another evidence proves nothing"
    triage = replace(found, ranking="triage", threshold=-1.5)
    assert triage.keeps(RequestSignals(triage=1.5)) and triage.keeps(RequestSignals(triage=-3.0))
    assert not triage.keeps(RequestSignals(triage=1.6))


def test_what_is_kept_is_what_was_counted(found: Certificate) -> None:
    kept = [found.keeps(row.evidence) for row in draw_rows(1_000, 0)]
    assert sum(kept) / len(kept) == found.kept_share


def test_a_saving_says_what_it_is_a_share_of(found: Certificate) -> None:
    assert found.counts == "dollars"
    rows = draw_rows(1_000, 0)
    some = (replace(rows[0], costs_nano_usd={"haiku": 100}), *rows[1:])
    calls = calibrate(Outcomes(some, "x"), QUESTION)
    assert isinstance(calls, Certificate)
    assert calls.counts == "calls"
    assert calls.saving_share == pytest.approx(calls.kept_share)


def test_a_top_tier_for_nothing_saves_nothing() -> None:
    free = tuple(replace(row, costs_nano_usd={"haiku": 100, "opus": 0}) for row in draw_rows(400, 0))
    with pytest.raises(ConfigError, match="costs_nano_usd of opus are 0"):
        calibrate(Outcomes(free, "x"), QUESTION)


def test_a_top_tier_that_is_mostly_free_has_an_interval() -> None:
    rows = draw_rows(400, 0)
    one = tuple(replace(row, costs_nano_usd={"haiku": 0, "opus": 10 if n == 0 else 0}) for n, row in enumerate(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = calibrate(Outcomes(one, "x"), replace(QUESTION, floor_points=5.0))
    assert isinstance(certificate, Certificate)
    assert np.isfinite([certificate.saving_low, certificate.saving_high]).all()


def test_a_certificate_survives_its_file(found: Certificate, tmp_path: Path) -> None:
    assert decode_certificate(encode_certificate(found)) == found
    file = tmp_path / "certificate.json"
    file.write_bytes(encode_certificate(found))
    assert load_certificate(file) == found


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_certificate(tmp_path / "none.json")
    assert caught.value.path == str(tmp_path / "none.json")


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
