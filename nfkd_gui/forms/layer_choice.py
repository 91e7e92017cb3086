"""The layers that a row of the pairs table can choose: of one shape, between the rows above and below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nfkd.protocol.requests import Description, LayerInfo, pairable

Names = tuple[str, str]
"""The names of a student layer and a teacher layer."""


@dataclass(frozen=True)
class LayerChoice:
    """The layers of the student and of the flow that it learns from; empty until the engine describes them."""

    student: list[LayerInfo] = field(default_factory=list[LayerInfo])
    teacher: list[LayerInfo] = field(default_factory=list[LayerInfo])

    @classmethod
    def of(cls, description: Description) -> LayerChoice:
        """Return the layers of a description that can be paired."""
        flows = (description.student, description.student_teacher)
        return cls(*(pairable(flow.layers) if flow is not None else [] for flow in flows))

    def students(self, rows: Sequence[Names], number: int) -> list[LayerInfo]:
        """Return the student layers that fit into a row: those with a teacher layer of the same shape."""
        students, teachers = self._window(rows, number)
        shapes = {tuple(layer.shape) for layer in teachers}
        return [layer for layer in students if tuple(layer.shape) in shapes]

    def teachers(self, rows: Sequence[Names], number: int) -> list[LayerInfo]:
        """Return the teacher layers that fit into a row: those with the shape of its student layer."""
        teachers = self._window(rows, number)[1]
        shape = next((layer.shape for layer in self.student if layer.name == rows[number][0]), None)
        return [layer for layer in teachers if shape is None or layer.shape == shape]

    def next_pair(self, rows: Sequence[Names]) -> tuple[int, Names] | None:
        """Return the index and the layers of a pair to add: at the end or in the last gap; None if no pair fits."""
        for index in range(len(rows), -1, -1):
            trial = [*rows[:index], ("", ""), *rows[index:]]
            students = self.students(trial, index)
            if students:
                student = students[-1].name
                trial[index] = (student, "")
                return index, (student, self.teachers(trial, index)[-1].name)
        return None

    def _window(self, rows: Sequence[Names], number: int) -> tuple[list[LayerInfo], list[LayerInfo]]:
        """Return the layers of both flows between those of the rows above and below."""
        return (
            _between(self.student, [row[0] for row in rows], number),
            _between(self.teacher, [row[1] for row in rows], number),
        )


def layer_label(layers: Sequence[LayerInfo], name: str) -> str:
    """Return a layer's label, or its name if there is no such layer."""
    return next((layer.label for layer in layers if layer.name == name), name)


def _between(layers: list[LayerInfo], chosen: Sequence[str], number: int) -> list[LayerInfo]:
    indices = {layer.name: index for index, layer in enumerate(layers)}
    before = [indices[name] for name in chosen[:number] if name in indices]
    after = [indices[name] for name in chosen[number + 1 :] if name in indices]
    return layers[max(before, default=-1) + 1 : min(after, default=len(layers))]
