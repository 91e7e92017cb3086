"""The layers that a row of the pairs table can choose: of one shape, between the rows above and below."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from nfkd.protocol.requests import Description, LayerInfo, pairable

Names = tuple[str, str]
"""The names of a student layer and a teacher layer."""
Side = Literal["student", "teacher"]


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
        return [layer for layer in self.teacher if not self.refusal(rows, number, "teacher", layer)]

    def refusal(self, rows: Sequence[Names], number: int, side: Side, layer: LayerInfo) -> str:
        """Return why a layer cannot be one side of a row while the other side stays; empty if it can.

        Parameters
        ----------
        rows
            All pairs, in order; the other side of the row may be empty.
        number
            The index of the row.
        side, layer
            The side that changes, and its new layer.
        """
        own, other = (0, 1) if side == "student" else (1, 0)
        if _find((self.student, self.teacher)[own], layer.name) is None:
            return f"a {layer.kind} cannot be matched"
        fixed = _find((self.student, self.teacher)[other], rows[number][other])
        if fixed is not None and fixed.shape != layer.shape:
            return f"{format_shape(layer.shape)} against {format_shape(fixed.shape)}"
        for index, row in enumerate(rows):
            if index != number and row[own] == layer.name:
                return f"already matched with {layer_label((self.student, self.teacher)[other], row[other])}"
        if _find(self._window(rows, number)[own], layer.name) is not None:
            return ""
        return self._crossing(rows, number, own, layer)

    def _crossing(self, rows: Sequence[Names], number: int, own: int, layer: LayerInfo) -> str:
        layers = (self.student, self.teacher)[own]
        indices = {each.name: index for index, each in enumerate(layers)}
        for index, row in enumerate(rows):
            known = row[own] in indices and index != number
            if known and (indices[row[own]] > indices[layer.name]) == (index < number):
                student, teacher = layer_label(self.student, row[0]), layer_label(self.teacher, row[1])
                return f"would cross the pair {student} ↔ {teacher}"
        return "out of order"

    def row_for(self, rows: Sequence[Names], student: str) -> int:
        """Return the index at which a pair with this student layer keeps the rows in order."""
        indices = {layer.name: index for index, layer in enumerate(self.student)}
        return bisect_left([indices.get(row[0], 0) for row in rows], indices.get(student, 0))

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


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape as text, such as ``4×4×4``."""
    return "×".join(map(str, shape))


def _find(layers: Sequence[LayerInfo], name: str) -> LayerInfo | None:
    return next((layer for layer in layers if layer.name == name), None)


def _between(layers: list[LayerInfo], chosen: Sequence[str], number: int) -> list[LayerInfo]:
    indices = {layer.name: index for index, layer in enumerate(layers)}
    before = [indices[name] for name in chosen[:number] if name in indices]
    after = [indices[name] for name in chosen[number + 1 :] if name in indices]
    return layers[max(before, default=-1) + 1 : min(after, default=len(layers))]
