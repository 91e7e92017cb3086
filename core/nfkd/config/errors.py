"""Faults: what is wrong with an experiment, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes
    ----------
    path
        The dotted path of the field, such as ``student.hidden``; empty when the whole file is meant.
    message
        What is wrong and what would be right, in one sentence.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ValueError):
    """An experiment that cannot be run as it is written.

    Attributes
    ----------
    faults
        Every fault found, each with its path.
    source
        The file or preset that was read, empty when there was none.
    """

    def __init__(self, faults: list[Fault], source: str = "") -> None:
        self.faults = list(faults)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.source}: " if self.source else ""
        if len(self.faults) == 1:
            return f"{head}{self.faults[0]}"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        return f"{head}{len(self.faults)} faults\n{lines}"
