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


def test_a_checkpoint_of_before_the_names_changed_is_the_same_network(tmp_path: pathlib.Path) -> None:
    import torch
    from training.average import average_checkpoints
    from training.network.model import Shape
    from training.network.sizes import SIZES
    from training.train import Run, load_model

    from .tiny import make_corpora, make_tokenizer

    torch.set_num_threads(1)
    run = Run(tmp_path, SIZES["test"], make_corpora(make_tokenizer(tmp_path)), seed=1)
    run.step(0.5)
    run.save()
    state = torch.load(run.path, weights_only=True)
    shape = state["shape"]
    former = {
        "vocabulary": shape["vocabulary"],
        "width": shape["d_model"],
        "blocks": shape["blocks"],
        "attending": list(shape["attention_layers"]),
        "heads": shape["heads"],
        "value_heads": shape["kv_heads"],
        "head_width": shape["head_dim"],
        "hidden": shape["hidden"],
        "rope_base": shape["rope_base"],
        "matching": shape["matching_d_model"],
        "matched_block": shape["matched_block"],
        "turning": 8,
    }
    torch.save({**state, "shape": former | {"turning": 0}}, tmp_path / "former.pt")
    model, _ = load_model(tmp_path / "former.pt")
    tokens = torch.arange(12, 60)[None]
    assert model.shape == run.model.shape
    torch.testing.assert_close(model.logits(tokens), run.model.logits(tokens), rtol=0, atol=0)
    average_checkpoints([tmp_path / "former.pt", run.path], tmp_path / "mean")
    assert load_model(tmp_path / "mean/checkpoint.pt")[0].shape == run.model.shape

    assert Shape.from_dict(former).rotary_dims == 16
    with pytest.raises(ValueError, match="shape has depth, which this network does not know"):
        Shape.from_dict(former | {"depth": 3})
