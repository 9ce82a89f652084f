"""A head is fitted near its prior, stored with its origin, and refused when damaged."""

import numpy as np
import pytest

from renga.errors import ConfigError
from renga.routing.triage.features import read_text
from renga.routing.triage.learned_head import (
    LabelledFeatures,
    LearnedHead,
    build_prior,
    decode_head,
    encode_head,
    fit_head,
    load_head,
)
from renga.routing.triage.scorer import load_prior

TOPICS = ("tax law appeal", "weather today", "prime ideal ring", "pizza order")
TEXTS = [f"{TOPICS[n % 4]} {'please ' * (n % 7)}number {n}" for n in range(400)]
FEATURES = [read_text(text) for text in TEXTS]
LOSSES = np.asarray([float(n % 4 in (0, 2)) for n in range(400)])


def prior() -> LearnedHead:
    return build_prior(FEATURES, "ab" * 32, "2026-11-21")


def test_the_prior_finds_long_and_rare_texts_harder() -> None:
    head = load_prior()
    short, long = read_text("What is the time?"), read_text("What is the time? " * 20)
    rare = read_text("What is thy eschaton?")
    assert head.score(long) > head.score(short)
    assert head.score(rare) > head.score(short)


def test_a_head_learns_what_a_tenants_labels_show() -> None:
    head = fit_head(LabelledFeatures(FEATURES, LOSSES, "cd" * 32, "2026-11-22"), prior())
    assert head.score(read_text("tax law question")) > head.score(read_text("pizza question"))
    assert (head.card.rows, head.card.data_sha256) == (400, "cd" * 32)


def test_few_labels_leave_the_prior_in_charge() -> None:
    base = prior()
    head = fit_head(LabelledFeatures(FEATURES[:4], LOSSES[:4], "", ""), base)
    scores = [(base.score(found), head.score(found)) for found in FEATURES[100:200]]
    assert np.corrcoef(np.asarray(scores).T)[0, 1] > 0.9


def test_no_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match="no labels"):
        fit_head(LabelledFeatures([], np.zeros(0), "", ""), prior())


def test_a_head_survives_its_file() -> None:
    head = fit_head(LabelledFeatures(FEATURES, LOSSES, "cd" * 32, "2026-11-22"), prior())
    stored = decode_head(encode_head(head))
    assert stored.card == head.card
    for features in FEATURES[:20]:
        assert stored.score(features) == pytest.approx(head.score(features), abs=0.02)


def test_a_damaged_head_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = bytearray(encode_head(prior()))
    path = tmp_path / "head.npz"
    path.write_bytes(data[:-40])
    with pytest.raises(ConfigError, match=r"head\.npz is not a routing head"):
        load_head(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_head(tmp_path / "none.npz")


def test_a_head_whose_hash_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not match its hash"):
        decode_head(_with_other_bias(encode_head(prior())))


def _with_other_bias(data: bytes) -> bytes:
    import io

    with np.load(io.BytesIO(data)) as stored:
        arrays = {key: stored[key] for key in stored.files}
    arrays["bias"] = np.asarray([9.0])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
