"""The dial: `--size` sets depth, d_model, batch and learning rates by rule.

The rules: d_model = 64 x aspect; hidden = 2.75 x d_model in steps of 64; a head is 32 wide and two query heads share a
key-value head; four attention blocks, two of them first; the learning rates fall with the root of the d_model and rise
with the root of the batch.
"""

from dataclasses import dataclass

from training.network.model import Shape

REFERENCE_BATCH = 65536
"""Tokens in a batch for which the learning rates below are meant."""


@dataclass(frozen=True, slots=True)
class Size:
    """One position of the dial."""

    d_model: int
    blocks: int
    attention_layers: tuple[int, ...]
    batch_tokens: int
    budget_tokens: int
    "What the size is worth training on; a time budget may cut it short."

    def shape(self, vocabulary: int) -> Shape:
        heads = self.d_model // 32
        hidden = round(2.75 * self.d_model / 64) * 64
        return Shape(
            vocabulary,
            d_model=self.d_model,
            blocks=self.blocks,
            attention_layers=self.attention_layers,
            heads=heads,
            kv_heads=heads // 2,
            hidden=hidden,
        )

    @property
    def matrix_rate(self) -> float:
        return 0.02 * (256 / self.d_model) ** 0.5 * self._batch_factor

    @property
    def rest_rate(self) -> float:
        return 0.004 * (256 / self.d_model) ** 0.5 * self._batch_factor

    @property
    def gain_rate(self) -> float:
        return 0.012

    @property
    def _batch_factor(self) -> float:
        """Small batches are noisy: both rates fall with the root of the batch (training/log.md)."""
        return min(1.0, max(0.3, (self.batch_tokens / REFERENCE_BATCH) ** 0.5))


SIZES = {
    "test": Size(64, 2, (0, 1), 512, 100_000),
    "xs": Size(256, 6, (0, 1, 2, 4), 6144, 30_000_000),
    "s": Size(384, 10, (0, 1, 2, 5, 8), 65536, 1_000_000_000),
    "m": Size(640, 12, (0, 1, 2, 5, 8, 10), 131072, 4_000_000_000),
}
"""test runs in seconds; xs in an hour or two on 2 CPU cores; s and m want an accelerator."""
