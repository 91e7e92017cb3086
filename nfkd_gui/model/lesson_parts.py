"""The parts of a lesson, and the check of their settings. `lessons` reads them from files.

Actions are a closed list: a lesson sets values of the lab, plays or pauses it, shows a recorded run that comes with
NFKD, or opens another lesson. It loads nothing from the network or from other files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from nfkd.config.base import Config
from nfkd.config.lab import LabConfig
from nfkd.config.problems import ConfigError, ConfigProblem, problems_of
from nfkd.config.toml import toml_document
from nfkd_gui.model.lab_figures import FIGURES

PARTS = ("teacher", "student", "baseline", "controls", "scrubber", "buys", "settings", "probe")
"""Parts of the lab that a page can show."""
NO_PARTS = ("none",)
"""What a page shows that is not about the lab."""
_PATH = re.compile(r"[a-z_]+(\.[a-z_]+)+")
_Control = Annotated[
    tuple[Literal["play", "pause", "restart"], ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(strict=False),
]
_Conditions = Annotated[
    tuple["Condition", ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, dict) else value),
    Field(strict=False),
]
_Title = Annotated[str, Field(min_length=1, max_length=80)]
_Text = Annotated[str, Field(min_length=1, max_length=600)]
_Steps = Annotated[int, Field(ge=0, le=5000)]


class LessonHeader(Config, frozen=True):
    """What a lesson is about.

    Attributes
    ----------
    order
        Place in the list of lessons, from 1.
    terms
        The words that it explains, each as ``word: explanation``.
    start
        Values of the lab when the lesson begins, by their dotted paths; the others are those of `LabConfig.first`.
    """

    title: _Title
    minutes: int = Field(ge=1, le=30)
    order: int = Field(ge=1, le=999)
    summary: _Text
    terms: tuple[Annotated[str, Field(pattern=r"^[^:]+: .+")], ...] = Field((), strict=False)
    start: dict[str, Any] = Field(default_factory=dict)


class LabSettings(Config, frozen=True):
    """A state of the lab: values on top of those of the lesson's start, and steps of the students from a new start."""

    set: dict[str, Any] = Field(default_factory=dict)
    steps: _Steps = 0


class Condition(Config, frozen=True):
    """A condition on a figure of the lab."""

    figure: str
    compare: Literal["above", "below", "equal"] = Field(alias="is")
    value: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.figure not in FIGURES:
            msg = f"figure {self.figure!r} is not known; choose one of {', '.join(FIGURES)}"
            raise ValueError(msg)
        return self

    def holds(self, value: float) -> bool:
        """Return whether a value of the figure meets the condition; NaN never does."""
        match self.compare:
            case "above":
                return value > self.value
            case "below":
                return value < self.value
            case _:
                return abs(value - self.value) <= 1e-9 * max(1.0, abs(self.value))


class Button(Config, frozen=True):
    """A button that sets the lab. The actions are made in this order.

    Attributes
    ----------
    reset
        Return to the values of the lesson's start.
    set
        Values of the lab, by their dotted paths.
    control
        What the lab does: *restart*, *play* or *pause*, or several of them.
    steps
        Steps to make.
    run
        A recorded run to show.
    lesson
        The name of a lesson to open.
    """

    title: _Title
    reset: bool = False
    set: dict[str, Any] = Field(default_factory=dict)
    control: _Control = ()
    steps: _Steps = 0
    run: Literal["", "digits"] = ""
    lesson: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.reset or self.set or self.control or self.steps or self.run or self.lesson):
            msg = "needs an action: reset, set, control, steps, run or lesson"
            raise ValueError(msg)
        return self


class Task(Config, frozen=True):
    """A question that checks itself: a number, a choice, or conditions on the lab.

    Attributes
    ----------
    lab
        Conditions on the lab, all of which must hold.
    needs
        Values that the lab must have, for conditions on it.
    solution, mistake
        A state of the lab that meets the conditions, and one that does not; for tests.
    """

    question: _Text
    right_text: _Text
    wrong_text: _Text
    answer: float | None = None
    tolerance: float = Field(0.0, ge=0)
    unit: str = Field("", max_length=20)
    choices: tuple[_Title, ...] = Field((), strict=False, max_length=6)
    right: int = 0
    lab: _Conditions = ()
    needs: dict[str, Any] = Field(default_factory=dict)
    solution: LabSettings | None = None
    mistake: LabSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [self.answer is not None, bool(self.choices), bool(self.lab)]
        if sum(kinds) != 1:
            msg = "needs one of answer, choices and lab"
            raise ValueError(msg)
        if self.choices and not (len(self.choices) > 1 and 0 <= self.right < len(self.choices)):
            msg = f"right must be the index of one of at least two choices, from 0 (given: {self.right})"
            raise ValueError(msg)
        if self.lab and (self.solution is None or self.mistake is None):
            msg = "a condition on the lab needs a solution and a mistake, each with set or steps"
            raise ValueError(msg)
        if not self.lab and (self.needs or self.solution or self.mistake):
            msg = "needs, solution and mistake are for conditions on the lab"
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> Literal["number", "choice", "lab"]:
        """What the student gives."""
        return "choice" if self.choices else "lab" if self.lab else "number"

    def is_right(self, given: float) -> bool:
        """Return whether a number or the index of a choice is right."""
        if self.choices:
            return given == self.right
        return self.answer is not None and abs(given - self.answer) <= self.tolerance + 1e-12

    def unmet(self, read: Callable[[str], float]) -> Condition | None:
        """Return the first condition on the lab that does not hold; None if all do.

        Parameters
        ----------
        read
            Returns a figure of the lab by its name.
        """
        return next((condition for condition in self.lab if not condition.holds(read(condition.figure))), None)

    @property
    def right_example(self) -> float:
        """A right number or index; of a task about the lab, `solution` is its counterpart."""
        return float(self.right) if self.answer is None else self.answer

    @property
    def wrong_example(self) -> float:
        """A wrong number or index; of a task about the lab, `mistake` is its counterpart."""
        if self.choices:
            return float((self.right + 1) % len(self.choices))
        return (self.answer or 0.0) + 2 * self.tolerance + 1


@dataclass(frozen=True)
class Text:
    """A paragraph or a list, in Markdown."""

    markdown: str


@dataclass(frozen=True)
class Formula:
    """Lines of TeX, and what they say."""

    lines: tuple[str, ...]
    caption: str = ""


Block = Text | Formula | Button | Task


class SettingsError(ValueError):
    """Settings of a lesson cannot be used; the text says why."""


def parsed(model: type[Config], toml: str) -> Any:
    """Return a part of a lesson from its TOML text.

    Raises
    ------
    SettingsError
        With the first problem.
    """
    try:
        return model.model_validate(toml_document(toml))
    except ConfigError as error:
        raise SettingsError(_first(error.problems).replace("a TOML file", "TOML")) from error
    except ValidationError as error:
        raise SettingsError(_first(problems_of(error))) from error


def changed(state: LabConfig, values: dict[str, Any]) -> LabConfig:
    """Return a state of the lab with other values, by their dotted paths.

    Raises
    ------
    SettingsError
        When a path is not known, or a value is refused.
    """
    for path in values:
        if not _PATH.fullmatch(path):
            msg = f"{path!r} is not the path of a value, such as training.student_examples"
            raise SettingsError(msg)
    try:
        return state.with_values(values)
    except ConfigError as error:
        raise SettingsError(_first(error.problems)) from error
    except (TypeError, AttributeError) as error:
        msg = f"the paths {', '.join(values)} contradict each other"
        raise SettingsError(msg) from error


def value_at(state: LabConfig, path: str) -> Any:
    """Return the value of a state at a dotted path."""
    value: Any = state
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _first(problems: list[ConfigProblem]) -> str:
    return str(problems[0])
