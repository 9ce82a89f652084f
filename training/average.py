"""python -m training.average A.pt B.pt --folder runs/NAME: the mean of checkpoints that one run made of another.

Owns:   the mean. Weights that lie on one way down are often worth more in their middle than at either end.
Source: Wortsman et al. 2022, "Model soups"; Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima".
"""

import argparse
import pathlib
import shutil
from typing import Any

import torch

from training.network.model import Shape


def average_checkpoints(paths: list[pathlib.Path], folder: pathlib.Path) -> None:
    """Write `checkpoint.pt` with the mean of the weights and all else of the last, and its tokenizer.

    Raises: ValueError if they are not weights of one shape under one tokenizer.
    """
    states: list[dict[str, Any]] = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    for state in states:
        state["shape"] = Shape.from_dict(state["shape"]).as_dict()
    last = states[-1]
    for path, state in zip(paths, states, strict=True):
        if any(state[part] != last[part] for part in ("shape", "groups", "flags")):
            raise ValueError(f"{path} has another shape or tokenizer than {paths[-1]}")
    for name, value in last["model"].items():
        if value.is_floating_point():
            last["model"][name] = torch.stack([state["model"][name] for state in states]).mean(dim=0)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(paths[-1].with_name("tokenizer.json"), folder / "tokenizer.json")
    torch.save(last, folder / "checkpoint.pt")


def main() -> None:
    """Average the checkpoints that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=pathlib.Path)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    average_checkpoints(arguments.checkpoints, arguments.folder)


if __name__ == "__main__":
    main()
