"""A stopped run goes on with the next batch, and a run learns."""

import pathlib

import numpy
import pytest

from .small import SHAPE, make_weights

torch = pytest.importorskip("torch", reason="the training extra is not installed")


def _corpus():
    """Documents whose second half repeats the first."""
    from training.tuning.corpus import Corpus

    generator = numpy.random.default_rng(0)
    documents = [numpy.tile(generator.integers(3, 30, 6), 2) for _ in range(40)]
    weights = numpy.tile(numpy.repeat([0, 1], 6), 40).astype(numpy.uint8)
    ends = numpy.cumsum([len(one) for one in documents])
    return Corpus(numpy.concatenate(documents).astype(numpy.uint16), weights, ends, numpy.array(["copy"] * 40))


def _run(tokens: int, *, decay_share: float = 0.5):
    from training.tuning.tune import Plan, Run
    from training.tuning.weights.network import Network

    torch.set_num_threads(1)
    torch.manual_seed(0)
    plan = Plan(tokens=tokens, rate=0.02, decay_share=decay_share, batch_tokens=240, checkpoint_s=1e9)
    return Run(Network(SHAPE, make_weights(), rank=4, alpha=8), plan)


def test_a_stopped_run_goes_on_with_the_next_batch(tmp_path: pathlib.Path) -> None:
    from training.tuning.tune import tune

    corpus = _corpus()
    whole, first, second = (_run(tokens, decay_share=1e-9) for tokens in (1400, 700, 1400))
    (tmp_path / "whole").mkdir()
    tune(whole, corpus, tmp_path / "whole", name="corpus", seed=1)
    tune(first, corpus, tmp_path, name="corpus", seed=1)
    second.restore(tmp_path / "checkpoint.pt")
    assert (second.steps, second.seen) == (first.steps, first.seen)
    tune(second, corpus, tmp_path, name="corpus", seed=1)
    assert (second.steps, second.seen, second.corpus_batches) == (whole.steps, whole.seen, whole.corpus_batches)
    for one, other in zip(second.parameters, whole.parameters, strict=True):
        assert torch.equal(one, other)


def test_a_run_learns_and_falls_to_rest(tmp_path: pathlib.Path) -> None:
    from training.tuning.judge import describe, judge
    from training.tuning.tune import tune

    corpus, run = _corpus(), _run(8000)
    before = numpy.mean(judge(run.network, corpus)["copy"].losses)
    tune(run, corpus, tmp_path, name="corpus", seed=1)
    after = judge(run.network, corpus)
    assert numpy.mean(after["copy"].losses) < before - 1
    assert run.rate() <= 0.02 * 0.02
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
