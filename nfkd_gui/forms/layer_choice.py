"""Which layers a pair of a matching may still take: those of one shape, between the pairs before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nfkd.protocol.requests import Description, LayerInfo, pairable

Names = tuple[str, str]
"""A layer of the student and one of the teacher."""


@dataclass(frozen=True)
class LayerChoice:
    """The layers of the student and of the flow that it learns from, as the engine described them; else none."""

    student: list[LayerInfo] = field(default_factory=list[LayerInfo])
    teacher: list[LayerInfo] = field(default_factory=list[LayerInfo])

    @classmethod
    def of(cls, description: Description) -> LayerChoice:
        """Return the layers of a description that a pair may name."""
        flows = (description.student, description.student_teacher)
        return cls(*(pairable(flow.layers) if flow is not None else [] for flow in flows))

    def students(self, rows: Sequence[Names], number: int) -> list[LayerInfo]:
        """Return the student's layers that fit into a row: there is a layer of the teacher to face each."""
        ours, theirs = self._window(rows, number)
        shapes = {tuple(layer.shape) for layer in theirs}
        return [layer for layer in ours if tuple(layer.shape) in shapes]

    def teachers(self, rows: Sequence[Names], number: int) -> list[LayerInfo]:
        """Return the teacher's layers that fit into a row beside the student's that stands there."""
        theirs = self._window(rows, number)[1]
        shape = next((layer.shape for layer in self.student if layer.name == rows[number][0]), None)
        return [layer for layer in theirs if shape is None or layer.shape == shape]

    def next_pair(self, rows: Sequence[Names]) -> tuple[int, Names] | None:
        """Return another pair and its place: after the last one, or in the last gap; None where nothing is left."""
        for place in range(len(rows), -1, -1):
            trial = [*rows[:place], ("", ""), *rows[place:]]
            ours = self.students(trial, place)
            if ours:
                trial[place] = (ours[-1].name, "")
                return place, (ours[-1].name, self.teachers(trial, place)[-1].name)
        return None

    def _window(self, rows: Sequence[Names], number: int) -> tuple[list[LayerInfo], list[LayerInfo]]:
        return (
            _between(self.student, [row[0] for row in rows], number),
            _between(self.teacher, [row[1] for row in rows], number),
        )


def layer_label(layers: Sequence[LayerInfo], name: str) -> str:
    """Return a layer's name in words; where there is none of that name, the name."""
    return next((layer.label for layer in layers if layer.name == name), name)


def _between(layers: list[LayerInfo], chosen: Sequence[str], number: int) -> list[LayerInfo]:
    places = {layer.name: place for place, layer in enumerate(layers)}
    before = [places[name] for name in chosen[:number] if name in places]
    after = [places[name] for name in chosen[number + 1 :] if name in places]
    return layers[max(before, default=-1) + 1 : min(after, default=len(layers))]
