"""A stopped run goes on with the next batch, and a run learns."""

import pathlib

import numpy
import pytest

from .small import SHAPE, make_weights

torch = pytest.importorskip("torch", reason="the training extra is not installed")


def _corpus():  # noqa: ANN202
    """Documents whose second half repeats the first."""
    from training.tuning.corpus import Corpus

    generator = numpy.random.default_rng(0)
    documents = [numpy.tile(generator.integers(3, 30, 6), 2) for _ in range(40)]
    weights = numpy.tile(numpy.repeat([0, 1], 6), 40).astype(numpy.uint8)
    ends = numpy.cumsum([len(one) for one in documents])
    return Corpus(numpy.concatenate(documents).astype(numpy.uint16), weights, ends, numpy.array(["copy"] * 40))


def _run(tokens: int):  # noqa: ANN202
    from training.tuning.network import Network
    from training.tuning.tune import Plan, Run

    torch.manual_seed(0)
    plan = Plan(tokens=tokens, rate=0.01, decay_share=0.5, batch_tokens=96, checkpoint_s=1e9)
    return Run(Network(SHAPE, make_weights(), rank=4, alpha=8), plan)


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: pathlib.Path) -> None:
    from training.tuning.tune import tune

    corpus, whole = _corpus(), _run(2000)
    (tmp_path / "whole").mkdir()
    tune(whole, corpus, tmp_path / "whole", name="corpus", seed=1)
    first = _run(2000)
    first.plan = _run(900).plan
    first.plan = type(first.plan)(tokens=900, rate=0.01, decay_share=1e-9, batch_tokens=96, checkpoint_s=1e9)
    unstopped = _run(2000)
    tune(first, corpus, tmp_path, name="corpus", seed=1)
    second = _run(2000)
    second.restore(tmp_path / "checkpoint.pt")
    assert (second.steps, second.seen) == (first.steps, first.seen)
    same = [bool(torch.equal(a, b)) for a, b in zip(first.parameters, second.parameters, strict=True)]
    assert all(same)
    tune(second, corpus, tmp_path, name="corpus", seed=1)
    assert second.seen == whole.seen and second.corpus_batches == whole.corpus_batches
    del unstopped


def test_a_run_learns_and_falls_to_rest(tmp_path: pathlib.Path) -> None:
    from training.tuning.judge import describe, judge
    from training.tuning.tune import tune

    corpus, run = _corpus(), _run(20_000)
    before = numpy.mean(judge(run.network, corpus)["copy"].losses)
    tune(run, corpus, tmp_path, name="corpus", seed=1)
    after = judge(run.network, corpus)
    assert numpy.mean(after["copy"].losses) < before - 1
    assert run.rate() <= 0.01 * 0.02
    assert "mean of families" in describe(after)


def test_batches_give_every_document_before_any_again() -> None:
    from training.tuning.corpus import batches

    corpus = _corpus()
    order = batches(corpus, tokens=96, seed=3)
    seen: list[int] = []
    while len(seen) < 40:
        batch = next(order)
        assert len(batch) <= 8
        seen += batch
    assert sorted(seen) == list(range(40))
