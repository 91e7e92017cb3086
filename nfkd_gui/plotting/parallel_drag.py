"""What the user drags in parallel coordinates: an axis, or a brush and its ends. No widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nfkd_gui.plotting.parallel_axes import Brush


@dataclass
class AxisDrag:
    """An axis on its way to another place: its number, and whether it has changed places."""

    index: int
    moved: bool = False


@dataclass
class BrushDrag:
    """A brush that is made, moved or resized.

    Attributes
    ----------
    others
        The brushes that stay as they are.
    before
        The brush at the start of the drag; for a new one, the point where it begins.
    part
        What is dragged: the whole brush or an end. A new brush is one whose upper end is dragged from its lower one.
    start
        The position where the drag began.
    changed
        Whether the pointer has moved since then.
    """

    others: Sequence[Brush]
    before: Brush
    part: Literal["whole", "low", "high"]
    start: float
    changed: bool = False

    @classmethod
    def begin(cls, axis: str, brushes: Sequence[Brush], at: float, reach: float) -> BrushDrag:
        """Return the drag that begins at a position of an axis: of the brush that is there, or of a new one.

        Parameters
        ----------
        reach
            Distance from an end of a brush that still hits it.
        """
        for brush in reversed(brushes):
            if brush.axis == axis and brush.low - reach <= at <= brush.high + reach:
                others = [other for other in brushes if other is not brush]
                near_low, near_high = abs(at - brush.low) <= reach, abs(at - brush.high) <= reach
                part: Literal["whole", "low", "high"] = "high" if near_high else "low" if near_low else "whole"
                return cls(others, brush, part, at)
        return cls(list(brushes), Brush(axis, at, at), "high", at)

    def to(self, at: float) -> list[Brush]:
        """Return all brushes when the pointer is at a position."""
        self.changed = True
        brush = self.before
        if self.part == "whole":
            return [*self.others, brush.moved(at - self.start)]
        fixed = brush.low if self.part == "high" else brush.high
        return [*self.others, Brush(brush.axis, min(fixed, at), max(fixed, at))]
