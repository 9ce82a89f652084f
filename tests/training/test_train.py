"""A run that stops and resumes ends with the same bits as one that does not."""

import pathlib

import pytest


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    import torch

    from .tiny import make_tokenizer

    torch.set_num_threads(1)
    make_tokenizer(tmp_path)
    return tmp_path


def run_steps(folder: pathlib.Path, name: str, stops: tuple[int, ...], total: int) -> dict[str, object]:
    """Train with a stop at each of `stops`, in a folder of its own."""
    import shutil

    from training.network.sizes import SIZES
    from training.train import Run, rate_scale

    from .tiny import make_corpora

    own = folder / name
    own.mkdir()
    shutil.copy(folder / "tokenizer.json", own)
    corpora = make_corpora(own / "tokenizer.json")
    run = Run(own, SIZES["test"], corpora, seed=3)
    for step in range(total):
        if step in stops:
            run.save()
            run = Run(own, SIZES["test"], corpora, seed=3)
        run.step(step / total)
    assert rate_scale(1.0) == 0.0
    return {key: value.clone() for key, value in run.model.state_dict().items()}


def test_resume_is_exact(folder: pathlib.Path) -> None:
    import torch

    whole = run_steps(folder, "whole", (), 6)
    cut = run_steps(folder, "cut", (2, 4), 6)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)  # type: ignore[arg-type]


def test_loss_falls(folder: pathlib.Path) -> None:
    from training.network.sizes import SIZES
    from training.train import Run

    from .tiny import make_corpora

    run = Run(folder, SIZES["test"], make_corpora(folder / "tokenizer.json"), seed=1)
    losses = [run.step(0.5) for _ in range(25)]
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])


def test_packed_rows_give_the_same_loss(folder: pathlib.Path) -> None:
    """Documents packed into one row with a mask are learned as if each stood alone."""
    import torch
    from training.data.tokenizer import load_tokenizer, piece_groups
    from training.learning.batches import Batches
    from training.network.model import Hokku
    from training.network.sizes import SIZES
    from training.train import batch_loss

    from .tiny import make_corpora

    corpus = make_corpora(folder / "tokenizer.json")["main"]
    groups, flags = piece_groups(load_tokenizer(folder / "tokenizer.json"))
    model = Hokku(SIZES["test"].shape(len(groups)), groups, flags)
    batches = Batches(corpus, batch_tokens=256, seed=5)
    number = next(number for number in range(batches.per_epoch) if len(batches.batch(number).pointers))
    alone, chosen = batches.batch(number), batches._planned(0)[number]
    packed = Batches(corpus, batch_tokens=256, seed=5, row_tokens=256)._packed
    first, counted = batch_loss(model, alone, every_token=False, supervision_weight=1.0)
    second, packed_counted = batch_loss(model, packed(chosen), every_token=False, supervision_weight=1.0)
    assert counted == packed_counted
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-3)
