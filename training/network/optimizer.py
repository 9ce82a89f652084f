"""Muon for the matrices, AdamW for the rest, in one object with one state.

Owns:   the update rules. The learning rate's schedule belongs to training/learning/schedule.py.
"""

from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic Newton-Schulz. Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon."""


MADE = (
    "matching.base",
    "matching.norms",
    "matching.look",
    "matching.gather",
    "matching.choose.query",
    "matching.choose.key",
)
"""What was made by hand (training/network/matching_stream.py) and is only to be mended."""
MADE_FACTOR = 0.8
OWN = "embedding.own"
OWN_DECAY = 30.0
"""How fast a token forgets, times the learning rate, in what it differs from its other spellings. A token that is never
written gets the same small push in every step, and Adam makes a full step of it; so names that training never writes
would be unlikely for ever (training/log.md)."""
TABLE_EPSILON = 3e-5
"""A gradient this small makes half a step in the tables: softmax's tail makes no full ones."""
READ = ("matching.choose.value.weight", "matching.choose.output.weight")
"""What the first stream reads of the second's choice: learned like any of its matrices."""


@torch.no_grad()
def orthogonalize(gradient: Tensor, *, steps: int = 5) -> Tensor:
    """Push the singular values of a matrix towards 1. Cost: steps x 3 products in bfloat16."""
    first, second, third = COEFFICIENTS
    value = gradient.bfloat16()
    tall = value.shape[0] > value.shape[1]
    value = value.T if tall else value
    value = value / (value.norm() + 1e-7)
    for _ in range(steps):
        square = value @ value.T
        value = first * value + (second * square + third * square @ square) @ value
    return (value.T if tall else value).to(gradient.dtype)


class Optimizer:
    """Muon (Nesterov momentum 0.95) on the blocks' matrices; AdamW (0.9, 0.95) on embeddings and, faster, on gains.

    The gains of queries and keys decide how sharply attention can choose. At the embeddings' rate they grew in every
    step of two runs and never arrived (training/log.md).
    """

    def __init__(
        self, model: nn.Module, *, matrix_rate: float, rest_rate: float, gain_rate: float, weight_decay: float
    ) -> None:
        named = list(model.named_parameters())
        self.matrices = [
            value for name, value in named if (name.startswith("blocks") and value.dim() == 2) or name in READ
        ]
        slow = [value for name, value in named if name.startswith(MADE)]
        gains = [value for name, value in named if value.dim() == 1 and not name.startswith(MADE)]
        rest = [(name, value) for name, value in named if not name.startswith(("blocks", *MADE, *READ))]
        tables = [value for name, value in rest if value.dim() == 2 and name != OWN]
        own = [value for name, value in rest if name == OWN]
        self.tables = [*tables, *own]
        self.momenta = [torch.zeros_like(value) for value in self.matrices]
        groups: list[dict[str, Any]] = [
            {"params": tables, "usual": rest_rate, "eps": TABLE_EPSILON},
            {"params": own, "usual": rest_rate, "eps": TABLE_EPSILON, "weight_decay": OWN_DECAY},
            {"params": gains, "usual": gain_rate},
        ]
        self.adam = torch.optim.AdamW(
            [*groups, {"params": slow, "usual": MADE_FACTOR * rest_rate}] if slow else groups,
            lr=rest_rate,
            betas=(0.9, 0.95),
            eps=1e-10,
            weight_decay=0.0,
        )
        self.matrix_rate, self.weight_decay = matrix_rate, weight_decay

    @torch.no_grad()
    def step(self, *, scale: float, momentum: float = 0.95) -> None:
        """Apply the gradients, with all learning rates times `scale`, and clear them."""
        rate = self.matrix_rate * scale
        for value, held in zip(self.matrices, self.momenta, strict=True):
            if value.grad is None:
                continue
            held.lerp_(value.grad, 1 - momentum)
            update = orthogonalize(value.grad.lerp(held, momentum))
            value.mul_(1 - rate * self.weight_decay)
            value.add_(update, alpha=-rate * max(1.0, value.shape[0] / value.shape[1]) ** 0.5)
            value.grad = None
        for group in self.adam.param_groups:
            group["lr"] = group["usual"] * scale
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        for held, saved in zip(self.momenta, state["momenta"], strict=True):
            held.copy_(saved)
        self.adam.load_state_dict(state["adam"])
