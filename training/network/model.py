"""hokku's network in PyTorch: qwen3-like blocks, of which only some attend.

Owns:   the arithmetic and the shapes. RMSNorm before each part, grouped-query attention with RoPE and QK-norm, SwiGLU,
        tied embeddings. Attention over 10 k tokens is what costs at inference, so the other blocks are SwiGLU alone.
Knows:  nothing of text, files or optimizers.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from training.learning.attention_supervision import BEFORE, COPY, ENTRY, FIELD, FIRST, NEXT, REST, SECOND, TAG, THIRD

HEADS = {ENTRY: 0, TAG: 1, COPY: 0, REST: 0, NEXT: 1, FIELD: -1, BEFORE: -1, SECOND: -2, THIRD: -3, FIRST: 0}
"""Which head of each is told; counted round where there are fewer."""
KIND_WEIGHTS = {BEFORE: 0.3, SECOND: 0.3, THIRD: 0.3, FIRST: 0.3, REST: 0.3, TAG: 0.5}
"""How much a look counts where it is not 1: there are many that prepare, and they are easy."""
FORMER_NAMES = {
    "width": "d_model",
    "attending": "attention_layers",
    "value_heads": "kv_heads",
    "head_width": "head_dim",
    "matching": "matching_d_model",
}
"""What fields of `Shape` are called in checkpoints of before December 2026; `turning` counted pairs."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides the weights' shapes."""

    vocabulary: int
    d_model: int = 256
    blocks: int = 6
    attention_layers: tuple[int, ...] = (0, 1, 2, 4)
    "Indices of the blocks with attention."
    heads: int = 8
    kv_heads: int = 4
    "Key-value heads; heads is a multiple of it."
    head_dim: int = 32
    hidden: int = 704
    "Inner width of SwiGLU."
    rope_base: float = 100_000.0
    "Source: Llama 3 uses 500,000 for 128 k tokens; short training lengths want faster turns."
    matching_d_model: int = 0
    "Width of the second stream, which only chooses where to look; zero for none."
    matched_block: int = 3
    "The block before which the first stream reads what the second has chosen."
    rotary_dims: int = 0
    "Coordinates of a head that turn with the position, zero for all. Source: Barbero et al. 2024 (p-RoPE)."

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Shape":
        """Read what a checkpoint says of its shape, under the names of today or of before December 2026.

        Raises: ValueError if it holds a name that neither knows.
        """
        named = {FORMER_NAMES.get(name, name): value for name, value in stored.items() if name != "turning"}
        if "turning" in stored:
            named["rotary_dims"] = 2 * stored["turning"]
        unknown = sorted(set(named) - {each.name for each in fields(cls)})
        if unknown:
            raise ValueError(f"the checkpoint's shape has {', '.join(unknown)}, which this network does not know")
        return cls(**{**named, "attention_layers": tuple(named["attention_layers"])})

    @property
    def rotary_pairs(self) -> int:
        """How many pairs of a head's coordinates turn with the position."""
        return (self.rotary_dims or self.head_dim) // 2

    def turns(self) -> list[float]:
        """How far each pair turns from one position to the next; the pairs that stand still come last."""
        still = self.head_dim // 2 - self.rotary_pairs
        return [self.rope_base ** -(pair / self.rotary_pairs) for pair in range(self.rotary_pairs)] + [0.0] * still

    def second(self) -> "Shape":
        """The second stream's attention: two heads, of which most does not turn, so that words can be compared."""
        return Shape(self.vocabulary, self.matching_d_model, heads=2, kv_heads=2, head_dim=64, rotary_dims=32)

    def as_dict(self) -> dict[str, Any]:
        """The shape as a checkpoint stores it, for `from_dict`."""
        return asdict(self)


@dataclass(slots=True)
class AttentionSupervision:
    """How far attention was, in one pass, from where it is told to look
    (training/learning/attention_supervision.py).
    """

    pointers: Tensor
    "Shapes: (P, 5) int64: row of the batch, asking token, start and end of what it should look at, kind."
    losses: list[Tensor] = field(default_factory=list[Tensor])

    def observe(self, kind: int, head: int, query: Tensor, key: Tensor, mask: Tensor | None) -> None:
        """Note -log of the weight on what should be looked at. Shapes: query, key (B, heads, T, head_dim)."""
        rows, asking, start, end, _ = self.pointers[self.pointers[:, 4] == kind].T
        scores = torch.einsum("pd,ptd->pt", query[rows, head, asking], key[rows, head]) / query.shape[-1] ** 0.5
        places = torch.arange(key.shape[2], device=key.device)
        seen = places <= asking[:, None] if mask is None else mask[rows, 0, asking]
        scores = scores.float().masked_fill(~seen, -torch.inf)
        wanted = (places >= start[:, None]) & (places < end[:, None])
        surprise = (scores.logsumexp(1) - scores.masked_fill(~wanted, -torch.inf).logsumexp(1)).sum()
        self.losses.append(KIND_WEIGHTS.get(kind, 1.0) * surprise)

    def loss(self) -> Tensor:
        """The sum of what was noted."""
        return torch.stack(self.losses).sum()


AttentionObserver = Callable[[Tensor, Tensor], None]


def rotary_angles(positions: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Find the cosines and sines of the rotary angles. Source: arXiv:2104.09864.

    Shapes: positions (B, T) int64 -> two of (B, 1, T, head_dim) float32.
    """
    angles = positions[:, None, :, None].float() * torch.tensor(shape.turns(), device=positions.device)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + half) by their position's angle, as Llama's reference code pairs them."""
    first, second = values.chunk(2, dim=-1)
    return values * cos + torch.cat((-second, first), dim=-1) * sin


def normalize(values: Tensor, gain: Tensor) -> Tensor:
    """RMSNorm over the last axis, in the dtype that the next product wants: one cast for all of them."""
    kind = values.device.type
    if torch.is_autocast_enabled(kind):
        values = values.to(torch.get_autocast_dtype(kind))
    return functional.rms_norm(values, gain.shape, gain.to(values.dtype), eps=1e-6)


class Attention(nn.Module):
    """Causal attention inside one document."""

    def __init__(self, shape: Shape, *, carried: int = 0) -> None:
        """carried: the width of what is read and written, if that is another stream than the one that chooses."""
        super().__init__()
        self.shape = shape
        carried = carried or shape.d_model
        inner, outer = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.query = nn.Linear(shape.d_model, inner, bias=False)
        self.key = nn.Linear(shape.d_model, outer, bias=False)
        self.value = nn.Linear(carried, outer, bias=False)
        self.output = nn.Linear(inner, carried, bias=False)
        self.query_norm = nn.Parameter(torch.ones(shape.head_dim))
        self.key_norm = nn.Parameter(torch.ones(shape.head_dim))

    def forward(
        self,
        hidden: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
        carried: Tensor | None = None,
        observe: AttentionObserver | None = None,
    ) -> Tensor:
        """Shapes: hidden, carried (B, T, their widths) -> as what is read; mask (B, 1, T, T) bool, None: causal."""
        batch, length, _ = hidden.shape

        def split(values: Tensor, heads: int) -> Tensor:
            return values.view(batch, length, heads, self.shape.head_dim).transpose(1, 2)

        query = rotate(normalize(split(self.query(hidden), self.shape.heads), self.query_norm), cos, sin)
        key = rotate(normalize(split(self.key(hidden), self.shape.kv_heads), self.key_norm), cos, sin)
        value = split(self.value(hidden if carried is None else carried), self.shape.kv_heads)
        repeats = self.shape.heads // self.shape.kv_heads
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        if query.device.type == "cpu":
            value = value.float()  # PyTorch's CPU kernel takes 0.07 s in float32 where bfloat16 takes 0.23 (log.md)
        query, key, value = (part.to(value.dtype).contiguous() for part in (query, key, value))
        if observe is not None:
            observe(query, key)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, -1))


class Block(nn.Module):
    """Attention (in some blocks) and SwiGLU, each added to the stream."""

    def __init__(self, shape: Shape, *, attends: bool) -> None:
        super().__init__()
        self.attention_norm = nn.Parameter(torch.ones(shape.d_model)) if attends else None
        self.attention = Attention(shape) if attends else None
        self.inner_norm = nn.Parameter(torch.ones(shape.d_model))
        self.gate = nn.Linear(shape.d_model, shape.hidden, bias=False)
        self.up = nn.Linear(shape.d_model, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.d_model, bias=False)

    def forward(
        self, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, observe: AttentionObserver | None = None
    ) -> Tensor:
        if self.attention is not None and self.attention_norm is not None:
            hidden = hidden + self.attention(normalize(hidden, self.attention_norm), cos, sin, mask, observe=observe)
        inner = normalize(hidden, self.inner_norm)
        return hidden + self.down(functional.silu(self.gate(inner)) * self.up(inner))


class SharedEmbedding(nn.Module):
    """One base for all spellings of a piece, a vector for "space before" and "capital", a correction for each token.

    " Brook", "Brook" and "brook" share what they mean and differ in a vector that all such pairs share, so copying
    between prose and JSON is learned once and not for every word. Exported as one plain table.
    """

    def __init__(self, groups: list[int], flags: list[int], d_model: int) -> None:
        super().__init__()
        self.groups: Tensor
        self.flags: Tensor
        self.register_buffer("groups", torch.tensor(groups))
        self.register_buffer("flags", torch.tensor(flags))
        self.base = nn.Parameter(torch.randn(max(groups) + 1, d_model) * 0.02)
        self.flag = nn.Parameter(torch.randn(max(flags) + 1, d_model) * 0.02)
        self.own = nn.Parameter(torch.zeros(len(groups), d_model))

    def table(self) -> Tensor:
        """The embedding of every token. Shapes: (vocabulary, d_model)."""
        return self.base[self.groups] + self.flag[self.flags] + self.own


class MatchingStream(nn.Module):
    """The second stream: what the words of a prompt mean, and which entry of a list is like the message.

    It has no say in what is written; its last attention only tells the first stream where to read. Its start is made
    by hand (training/network/matching_stream.py).
    """

    def __init__(self, shape: Shape, bases: int) -> None:
        super().__init__()
        second = shape.second()
        self.shape = second
        self.base = nn.Parameter(torch.randn(bases, second.d_model) * 0.02)
        self.norms = nn.ParameterList(
            nn.Parameter(torch.ones(width)) for width in (*[second.d_model] * 3, shape.d_model)
        )
        self.look, self.gather = Attention(second), Attention(second)
        self.choose = Attention(second, carried=shape.d_model)

    def forward(self, bases: Tensor, positions: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes: bases, positions (B, T) -> what words are like (B, T, d_model), normalized, and the rotary angles."""
        cos, sin = rotary_angles(positions, self.shape)
        hidden = functional.embedding(bases, self.base) * self.shape.d_model**0.5
        hidden = hidden + self.look(normalize(hidden, self.norms[0]), cos, sin, mask)
        hidden = hidden + self.gather(normalize(hidden, self.norms[1]), cos, sin, mask)
        return normalize(hidden, self.norms[2]), cos, sin


class Hokku(nn.Module):
    """The whole network. `forward` gives the last hidden states; `logits` are asked for only where they are needed."""

    def __init__(self, shape: Shape, groups: list[int], flags: list[int]) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = SharedEmbedding(groups, flags, shape.d_model)
        self.blocks = nn.ModuleList(
            Block(shape, attends=index in shape.attention_layers) for index in range(shape.blocks)
        )
        self.norm = nn.Parameter(torch.ones(shape.d_model))
        self.matching = MatchingStream(shape, max(groups) + 1) if shape.matching_d_model else None
        for name, parameter in self.named_parameters():
            if name.endswith(("output.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * shape.blocks) ** 0.5)
            elif parameter.dim() == 2 and not name.startswith("embedding") and not name.endswith("base"):
                nn.init.normal_(parameter, std=shape.d_model**-0.5)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        supervision: AttentionSupervision | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Shapes: tokens, positions (B, T) int64 -> hidden (B, T, d_model), table (vocabulary, d_model).

        With `supervision`, notes there how far attention was from where it should look.
        """
        table = self.embedding.table()
        hidden = functional.embedding(tokens, table) * self.shape.d_model**0.5
        cos, sin = rotary_angles(positions, self.shape)
        chosen = self.matching(self.embedding.groups[tokens], positions, mask) if self.matching is not None else None
        kinds = {
            self.shape.attention_layers[-1]: (COPY, REST, NEXT, FIELD),
            self.shape.attention_layers[-2]: (BEFORE, SECOND, THIRD, FIRST),
        }
        for index, block in enumerate(self.blocks):
            if chosen is not None and self.matching is not None and index == self.shape.matched_block:
                read = normalize(hidden, self.matching.norms[3])
                hidden = hidden + self.matching.choose(
                    *chosen, mask, read, self._observer(supervision, (ENTRY, TAG), mask)
                )
            hidden = block(hidden, cos, sin, mask, self._observer(supervision, kinds.get(index, ()), mask))
        return normalize(hidden, self.norm), table

    @staticmethod
    def _observer(
        supervision: AttentionSupervision | None, kinds: tuple[int, ...], mask: Tensor | None
    ) -> AttentionObserver | None:
        """AttentionObserver the heads of those kinds."""
        if supervision is None or not kinds:
            return None

        def observe(query: Tensor, key: Tensor) -> None:
            for kind in kinds:
                supervision.observe(kind, HEADS[kind] % query.shape[1], query, key, mask)

        return observe

    def logits(self, tokens: Tensor) -> Tensor:
        """Shapes: (B, T) int64 -> (B, T, vocabulary) float32, positions from zero."""
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        hidden, table = self(tokens, positions)
        return (hidden @ table.T).float()


def count_parameters(model: nn.Module) -> int:
    """How many numbers a network has to learn."""
    return sum(parameter.numel() for parameter in model.parameters())
