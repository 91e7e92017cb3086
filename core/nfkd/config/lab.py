"""The state of the lab: an experiment in the plane, and what the lab shows of it."""

from __future__ import annotations

import base64
import binascii
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nfkd.config.base import Config, field
from nfkd.config.experiment import ExperimentConfig
from nfkd.config.presets import preset_path
from nfkd.config.problems import ConfigError, ConfigProblem
from nfkd.config.toml import read_text, short_toml, toml_document

PLANE_DATA = (
    "pinwheel", "two_moons", "rings", "checkerboard", "spirals", "circles", "eight_gaussians", "letter", "drawn",
)  # fmt: skip
"""Kinds of data that the lab can draw."""
PLANE_FLOWS = ("nsf", "glow1d", "maf", "iaf")
MAX_POINTS = 5_000
FEWEST_POINTS = 100
_MARK = "nfkd-lab:"
_MAX_TEXT = 4 << 20  # bytes of a state
_Point = Annotated[tuple[float, float], Field(strict=False)]


class LabSection(Config, frozen=True):
    """What the lab adds to an experiment."""

    teacher: Literal["trained", "together"] = field(
        "trained",
        title="Teacher",
        help="Whether the teacher is trained before the students start, or learns together with them.",
    )
    points: tuple[_Point, ...] = field(
        (),
        title="Own points",
        help="Points of a file; they replace the data set.",
        max_length=MAX_POINTS,
        strict=False,
    )
    repeat: int = field(
        0,
        title="Seed of the students",
        help="Added to their seed: other first weights and batches, with the same teacher.",
        ge=0,
        lt=10_000,
    )
    choice: int = field(
        0,
        title="Choice of points",
        help="Which of the training points the students see; 0 for those of a run.",
        ge=0,
        lt=2**31,
    )
    speed: Literal["slow", "normal", "quick", "full"] = field(
        "normal", title="Speed", help="Slow: 2 steps a second; normal: 20; quick: 80; full: as many as possible."
    )
    show: Literal["density", "samples"] = field(
        "density", title="Show", help="The density of each flow, or points that it draws from the same noise."
    )
    data: bool = field(True, title="Data", help="Show the students' training points.")
    grid: bool = field(True, title="Grid", help="Show a grid of the latents, bent by the layers.")
    arrows: bool = field(False, title="Arrows", help="Show how the next layer moves the points.")
    contours: bool = field(True, title="Contours", help="Show the circles of one and two standard deviations.")
    position: float = field(
        0.0, title="Layers", help="Position on the way from the data (0) to the noise (1).", ge=0.0, le=1.0
    )
    probe: tuple[float, ...] = field(
        (), title="Probe", help="x and y of a point whose path through the layers is shown.", max_length=2, strict=False
    )
    off: tuple[str, ...] = field(
        (),
        title="Layers off",
        help="Layers that are left out of the pictures, such as student.step1.",
        max_length=64,
        strict=False,
    )


class LabConfig(ExperimentConfig, frozen=True):
    """The whole state of the lab: an experiment with two features, and a section ``lab``.

    The baseline of the experiment is the *student alone*. Three flows are trained at once, without files.

    Examples
    --------
    >>> state = LabConfig.first().replace(training={"student_examples": 200})
    >>> LabConfig.from_link(state.link()) == state
    True
    """

    lab: LabSection = field(title="Lab", help="What the lab shows.", default_factory=LabSection)

    @model_validator(mode="after")
    def _check_plane(self) -> Self:
        if self.data.kind not in PLANE_DATA:
            msg = f"the lab shows data in the plane: data.kind must be one of {', '.join(PLANE_DATA)}"
            raise ValueError(msg)
        for role in ("teacher", "student"):
            if getattr(self, role).kind not in PLANE_FLOWS:
                msg = f"{role}.kind must be a flow for vectors: {', '.join(PLANE_FLOWS)}"
                raise ValueError(msg)
        if self.assistants or self.distillation.inherit != "none" or self.training.teacher_given:
            msg = "the lab has no assistants, no inherited weights and no teacher from a file"
            raise ValueError(msg)
        if 0 < len(self.lab.points) < FEWEST_POINTS:
            msg = f"lab.points needs at least {FEWEST_POINTS} points"
            raise ValueError(msg)
        if len(self.lab.probe) == 1:
            msg = "lab.probe needs x and y"
            raise ValueError(msg)
        return self

    @classmethod
    def first(cls) -> Self:
        """Return the state in which the lab opens."""
        return cls.from_toml(read_text(preset_path("pinwheel_few")))

    @classmethod
    def of_experiment(cls, experiment: ExperimentConfig) -> Self:
        """Return the state that shows an experiment.

        Raises
        ------
        ConfigError
            When the lab cannot show it.
        """
        return cls.from_toml(experiment.to_toml())

    def experiment(self) -> ExperimentConfig:
        """Return the experiment, which Design can open; points of a file are not part of it."""
        return ExperimentConfig.from_dict(self.model_dump(exclude={"lab"}))

    def with_values(self, values: dict[str, Any]) -> Self:
        """Return a validated copy with some fields changed, by their dotted paths.

        Raises
        ------
        ConfigError
            When a change is not valid.
        """
        changes: dict[str, Any] = {}
        for path, value in values.items():
            *parents, last = path.split(".")
            table = changes
            for key in parents:
                table = table.setdefault(key, {})
            table[last] = value
        return self.replace(**changes)

    # --- as text ------------------------------------------------------------------------------------------------------

    def short_toml(self) -> str:
        """Return the state as TOML text without the fields that have their default value."""
        return short_toml(self, ("data", "teacher", "student"))

    def link(self) -> str:
        """Return the state as one line of text."""
        packed = zlib.compress(self.short_toml().encode(), 9)
        return _MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def from_link(cls, text: str) -> Self:
        """Return the state of a line of text.

        Raises
        ------
        ConfigError
            When the text is not complete, or does not come from `link`.
        """
        body = "".join(text.split())
        if not body.startswith(_MARK):
            raise ConfigError([ConfigProblem("", f"is not a state of the lab: the text must start with {_MARK}")])
        body = body.removeprefix(_MARK)
        try:
            packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(packed, _MAX_TEXT)
            complete = unpacker.eof and not unpacker.unused_data
            state = content.decode() if complete else None
        except (binascii.Error, zlib.error, UnicodeDecodeError):
            state = None
        if state is None:
            raise ConfigError([ConfigProblem("", "is not a complete state of the lab: copy the whole text")])
        return cls.from_toml(state)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the state of a file.

        Raises
        ------
        ConfigError
            When it cannot be read or is not a state of the lab.
        """
        return cls.from_toml(read_text(path), source=str(path))

    @staticmethod
    def is_state(text: str) -> bool:
        """Return whether TOML text is a state of the lab, and not an experiment; it may be invalid."""
        try:
            return "lab" in toml_document(text)
        except ConfigError:
            return False

    def layers_off(self, role: str) -> list[str]:
        """Return the names of a flow's layers that are left out."""
        prefix = f"{role}."
        return [name.removeprefix(prefix) for name in self.lab.off if name.startswith(prefix)]
