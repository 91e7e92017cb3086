"""The pool: samples of the teacher that join the batches of the student."""

from __future__ import annotations

from nfkd.config.base import Config, field

SIZE_OF_IMAGES, SIZE_OF_VECTORS = 8_192, 20_000
"""Samples of a pool of automatic size."""


class PoolConfig(Config, frozen=True):
    """Samples of the teacher, drawn once before the student's training, that replace part of each of its batches."""

    share: float = field(
        0.0,
        title="Share of a batch",
        help="Part of each of the student's batches that are samples of the teacher; zero for no pool, one for no real "
        "data. 0.3 to 0.5 for most data, 0.8 for less than about 500 examples.",
        format="share",
        ge=0.0,
        le=1.0,
    )
    size: int = field(
        0,
        title="Samples",
        help=f"Samples that the teacher draws; zero means {SIZE_OF_IMAGES:,} images or {SIZE_OF_VECTORS:,} vectors.",
        unit="samples",
        zero="automatic",
        ge=0,
        le=10_000_000,
        needs={".share": True},
    )

    def samples(self, *, images: bool) -> int:
        """Return the number of samples that the teacher draws."""
        return self.size or (SIZE_OF_IMAGES if images else SIZE_OF_VECTORS)

    def rows(self, batch_size: int) -> int:
        """Return how many rows of a batch are from the pool."""
        return round(self.share * batch_size)
