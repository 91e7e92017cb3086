"""What a student begins with: nothing of its teacher, its mixing of the channels, or whole blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nfkd.config import ConfigProblem
from nfkd.config.flows import FlowConfig
from nfkd.data import Batch
from nfkd.distillation.inherit_blocks import blocks_problems, inherit_blocks
from nfkd.distillation.inherit_mixing import inherit_mixing, mixing_problems
from nfkd.flows.flow import Flow
from nfkd.protocol.records import LayerPair

PATH = "distillation.inherit"
EXAMPLES = 512
"""Most examples from which the norms between inherited blocks are set."""


@dataclass(frozen=True)
class Inheritance:
    """What a student takes over from its teacher before its first step.

    Attributes
    ----------
    mode
        ``distillation.inherit``.
    pairs
        The matched layers, between which mixing is inherited; blocks do not depend on them.
    configs
        The configs of student and teacher; None if the teacher is a flow of another library.
    """

    mode: Literal["none", "mixing", "blocks"]
    pairs: Sequence[LayerPair] = ()
    configs: tuple[FlowConfig, FlowConfig] | None = None

    def problems(self, student: Flow, teacher: Flow) -> list[ConfigProblem]:
        """Return why the student cannot inherit; the flows may be on the meta device."""
        match self.mode:
            case "none":
                messages = []
            case "mixing":
                messages = mixing_problems(student, teacher, self.pairs)
            case "blocks":
                messages = blocks_problems(student, teacher, self.configs)
        return [ConfigProblem(PATH, message) for message in messages]

    def apply(self, student: Flow, teacher: Flow, batch: Batch | None = None) -> None:
        """Change the student in place: it begins with what it inherits, and trains it further.

        Parameters
        ----------
        student
            With its first weights.
        teacher
            The trained teacher.
        batch
            Examples from which the norms between inherited blocks are set, and on which hidden units are compared; for
            ``blocks`` only.

        Raises
        ------
        ValueError
            Where `problems` finds one, a matrix is singular, or blocks are inherited without a batch.
        """
        problems = self.problems(student, teacher)
        if problems:
            raise ValueError(problems[0].message)
        if self.mode == "mixing":
            inherit_mixing(student, teacher, self.pairs)
        elif self.mode == "blocks":
            if batch is None or self.configs is None:
                msg = "inherited blocks need examples to set the norms between them"
                raise ValueError(msg)
            inherit_blocks(student, teacher, self.configs[1], batch)
            student.initialize_outer(batch.x, batch.context)
