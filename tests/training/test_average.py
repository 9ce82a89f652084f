"""The mean of checkpoints is one that the rest of the recipe takes."""

import pathlib
import shutil

import pytest


def test_weights_are_the_mean_and_everything_else_is_the_last_ones(tmp_path: pathlib.Path) -> None:
    import torch
    from training.average import average_checkpoints
    from training.network.sizes import SIZES
    from training.train import Run, load_model

    from .tiny import make_corpora, make_tokenizer

    torch.set_num_threads(1)
    run = Run(tmp_path, SIZES["test"], make_corpora(make_tokenizer(tmp_path)), seed=1)
    run.step(0.5)
    run.save()
    shutil.copyfile(run.path, tmp_path / "first.pt")
    run.step(0.5)
    run.save()
    average_checkpoints([tmp_path / "first.pt", run.path], tmp_path / "mean")
    first, _ = load_model(tmp_path / "first.pt")
    mean, state = load_model(tmp_path / "mean/checkpoint.pt")
    assert state["progress"]["step"] == 2
    assert (tmp_path / "mean/tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()
    for one, two, middle in zip(first.parameters(), run.model.parameters(), mean.parameters(), strict=True):
        torch.testing.assert_close(middle, (one + two) / 2)
    assert any(not torch.equal(one, two) for one, two in zip(first.parameters(), mean.parameters(), strict=True))

    other = torch.load(tmp_path / "first.pt", weights_only=True)
    torch.save({**other, "groups": other["groups"][::-1]}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt has another shape or tokenizer"):
        average_checkpoints([tmp_path / "other.pt", run.path], tmp_path / "mean")
