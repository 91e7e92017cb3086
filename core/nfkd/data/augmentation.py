"""Augmentation of training images, before they are dequantized, and of their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Augmentation:
    """Random horizontal flips and shifts, and dropping of labels.

    Attributes
    ----------
    flip
        Whether images are flipped from left to right, each with probability one half.
    shift
        Most pixels by which an image moves in each direction; its edge is repeated.
    label_dropping
        Probability that the label of an image is dropped.
    """

    flip: bool = False
    shift: int = 0
    label_dropping: float = 0.0

    @property
    def active(self) -> bool:
        """Whether images are changed at all; their labels may be dropped anyway."""
        return self.flip or self.shift > 0

    def __call__(self, images: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Return augmented images, (N, channels, height, width); the generator is on the CPU."""
        count, _, height, width = images.shape
        if self.flip:
            flipped = torch.rand(count, generator=generator).numpy() < 0.5
            images = np.where(flipped[:, None, None, None], images[..., ::-1], images)
        if self.shift:
            margin = self.shift
            moves = torch.randint(0, 2 * margin + 1, (count, 2), generator=generator).numpy()
            padded = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="edge")
            images = np.stack(
                [
                    image[:, down : down + height, right : right + width]
                    for image, (down, right) in zip(padded, moves, strict=True)
                ]
            )
        return np.ascontiguousarray(images)

    def drop_labels(self, context: np.ndarray | None, generator: torch.Generator) -> np.ndarray | None:
        """Return labels in one-hot code, (N, classes), of which some are the mean of all classes."""
        if context is None or not self.label_dropping:
            return context
        dropped = torch.rand(len(context), generator=generator).numpy() < self.label_dropping
        return np.where(dropped[:, None], np.float32(1 / context.shape[1]), context)


PLAIN = Augmentation()
"""No augmentation."""
