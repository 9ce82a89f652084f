"""A Llama network with low-rank adapters, as tuning needs it: whole sequences forward and backward, no cache.

Owns:   the arithmetic. Base weights are frozen in bfloat16; what is learned are the adapters, in float32.
Knows:  nothing of files, documents or schedules.

Matrices that read the same input are kept as one (queries, keys and values; gate and up), and attention is written
out: on a CPU both are faster than many small operations and than PyTorch's kernel in bfloat16 (training/log.md).
"""

import math
from collections.abc import Iterator

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.tuning.weights.base import Shape

GROUPS = {"qkv": ("q", "k", "v"), "o": ("o",), "gate_up": ("gate", "up"), "down": ("down",)}
"""Matrices that are computed as one."""


class LowRankProduct(torch.autograd.Function):
    """x W' + (x A') B' for a frozen W, without intermediate sums in memory."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, down: Tensor, up: Tensor) -> Tensor:  # type: ignore[override]
        inner = x @ down.T
        ctx.save_for_backward(x, inner, weight, down, up)
        return (x @ weight.T).addmm_(inner, up.T)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[override]
        x, inner, weight, down, up = ctx.saved_tensors
        inner_gradient = gradient @ up
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = (gradient @ weight).addmm_(inner_gradient, down)
        return x_gradient, None, inner_gradient.T @ x, gradient.T @ inner


class Adapted(nn.Module):
    """Frozen matrices that read the same input, each with an adapter: W + scale * B A."""

    def __init__(self, weights: dict[str, Tensor], rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("weight", torch.cat(list(weights.values())).to(torch.bfloat16))
        width = next(iter(weights.values())).shape[1]
        self.names = tuple(weights)  # a ParameterDict sorts its names
        self.A = nn.ParameterDict({name: nn.Parameter(torch.randn(rank, width) / math.sqrt(width)) for name in weights})
        self.B = nn.ParameterDict({name: nn.Parameter(torch.zeros(w.shape[0], rank)) for name, w in weights.items()})

    def forward(self, x: Tensor) -> Tensor:
        down = torch.cat([self.A[name] for name in self.names]).to(torch.bfloat16)
        up = torch.block_diag(*(self.scale * self.B[name] for name in self.names)).to(torch.bfloat16)
        return LowRankProduct.apply(x, self.weight, down, up)


class Layer(nn.Module):
    """One transformer layer: attention and a gated feed-forward part, each behind a norm."""

    qkv: Adapted
    o: Adapted
    gate_up: Adapted
    down: Adapted
    attention_norm: Tensor
    mlp_norm: Tensor

    def __init__(self, shape: Shape, weights: dict[str, Tensor], rank: int, scale: float) -> None:
        super().__init__()
        self.shape = shape
        for group, names in GROUPS.items():
            setattr(self, group, Adapted({name: weights[name] for name in names}, rank, scale))
        self.register_buffer("attention_norm", weights["attention_norm"])
        self.register_buffer("mlp_norm", weights["mlp_norm"])

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        x = x + self.o(self._attend(self._norm(x, self.attention_norm), rotation, mask))
        gate, up = self.gate_up(self._norm(x, self.mlp_norm)).split(self.shape.hidden, dim=-1)
        return x + self.down(functional.silu(gate) * up)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (self.shape.width,), weight, self.shape.epsilon).to(torch.bfloat16)

    def _attend(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Causal attention; heads that share keys stand in one matrix product."""
        shape, (batch, length) = self.shape, mask.shape[:2]
        groups, width = shape.heads // shape.kv_heads, shape.head_width
        sizes = [shape.heads * width, shape.kv_heads * width, shape.kv_heads * width]
        q, k, v = self.qkv(x).view(batch, length, -1).split(sizes, dim=-1)
        q = _rotate(q.reshape(batch, length, shape.heads, width), rotation) * width**-0.5
        k = _rotate(k.reshape(batch, length, shape.kv_heads, width), rotation)
        q = q.view(batch, length, shape.kv_heads, groups, width).permute(0, 2, 3, 1, 4)
        q = q.reshape(batch * shape.kv_heads, groups * length, width)
        k = k.permute(0, 2, 3, 1).reshape(batch * shape.kv_heads, width, length)
        v = v.view(batch, length, shape.kv_heads, width).transpose(1, 2).reshape(-1, length, width)
        scores = torch.bmm(q, k).view(batch, -1, length, length)
        shares = functional.softmax(scores + mask[:, None], dim=-1).to(torch.bfloat16)
        mixed = torch.bmm(shares.view(-1, groups * length, length), v)
        mixed = mixed.view(batch, shape.heads, length, width).transpose(1, 2)
        return mixed.reshape(batch * length, shape.heads * width)


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embeddings, halves of a head's coordinates turned against each other."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(torch.bfloat16)


class Network(nn.Module):
    """The whole network; its parameters are the adapters'."""

    embedding: Tensor
    norm: Tensor

    def __init__(self, shape: Shape, weights: dict[str, numpy.ndarray], *, rank: int = 16, alpha: float = 32) -> None:
        super().__init__()
        self.shape = shape
        tensors = {name: torch.from_numpy(numpy.require(array, requirements="W")) for name, array in weights.items()}
        self.register_buffer("embedding", tensors["embedding"].to(torch.bfloat16))
        self.register_buffer("norm", tensors["norm"])
        self.layers = nn.ModuleList(
            Layer(shape, _of_layer(tensors, index), rank, alpha / rank) for index in range(shape.layers)
        )

    def forward(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Logits of the tokens that follow the wanted places. `tokens`: (batch, length), padded at the end; `wanted`:
        a mask of the same shape.
        """
        batch, length = tokens.shape
        rotation = self._rotation(length)
        mask = torch.full((length, length), -torch.inf, dtype=torch.bfloat16).triu(1).expand(batch, -1, -1)
        x = self.embedding[tokens.reshape(-1)].float()
        for layer in self.layers:
            x = layer(x, rotation, mask)
        chosen = functional.rms_norm(x[wanted.reshape(-1)], (self.shape.width,), self.norm, self.shape.epsilon)
        if torch.is_grad_enabled():
            return (chosen.to(torch.bfloat16) @ self.embedding.T).float()
        return chosen @ self.embedding.float().T  # rounded logits are good enough to learn from, not to choose by

    def _rotation(self, length: int) -> tuple[Tensor, Tensor]:
        half = self.shape.head_width // 2
        speeds = self.shape.rope_base ** (-torch.arange(half) / half)
        angles = torch.arange(length)[:, None] * speeds
        return angles.cos()[:, None], angles.sin()[:, None]

    def adapted(self) -> Iterator[tuple[str, nn.Parameter, nn.Parameter]]:
        """(name as in the base, A, B) of every adapted matrix."""
        for index, layer in enumerate(self.layers):
            for group, names in GROUPS.items():
                one = getattr(layer, group)
                for name in names:
                    yield f"layers.{index}.{name}", one.A[name], one.B[name]


def _of_layer(tensors: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    start = f"layers.{index}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
