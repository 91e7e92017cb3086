"""How long, how fast, on what and how often to look."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationInfo, field_validator

from nfkd.config.base import Config, field
from nfkd.config.named import folder_of, place

FROM_PYTHON = "python:"
"""How `TrainingConfig.teacher_weights` begins where the teacher was given in Python; name and fingerprint follow."""


def whole_weights(value: str, folder: Path) -> str:
    """Return the path of a teacher's weights, absolute; a relative one starts from a folder."""
    if not value.strip():
        return ""
    return value if value.startswith(FROM_PYTHON) else str(place(value, folder))  # a name may end in a space


class TrainingConfig(Config, frozen=True):
    """The optimizer and the budget. Student and baseline always get the same number of steps."""

    teacher_steps: int = field(
        1500, title="Teacher steps", help="Most steps of the teacher.", unit="steps", ge=1, le=10_000_000
    )
    teacher_weights: str = field(
        "",
        title="Teacher's weights",
        help=(
            "The directory of an earlier run (its first seed's teacher serves), or a .safetensors file of NFKD's: the "
            "teacher is taken from there and not trained; empty trains one."
        ),
        format="run",
        max_length=4096,
    )
    assistant_steps: int = field(
        1000,
        title="Assistant steps",
        help="Steps of each assistant, where there are any.",
        unit="steps",
        ge=1,
        le=10_000_000,
        advanced=True,
    )
    student_steps: int = field(
        1000,
        title="Student steps",
        help="Steps of the student and of its baseline: always the same number.",
        unit="steps",
        ge=1,
        le=10_000_000,
    )
    baseline: bool = field(
        True,
        title="Baseline",
        help="Train the same student without the teacher, too: it alone says whether the teacher helped. Without it "
        "a run is shorter, and there is no verdict.",
    )
    batch_size: int = field(128, title="Batch", help="Examples per step.", unit="examples", ge=1, le=65536)
    precision: Literal["float32", "bf16"] = field(
        "float32",
        title="Precision",
        help="Of the networks inside couplings while training: bf16 takes less memory and is faster where the "
        "hardware has it. All else, and every evaluation, is float32.",
        advanced=True,
    )
    accumulate: int = field(
        1,
        title="Micro-batches",
        help="A batch goes through the flow in so many pieces whose gradients add up: less memory, the same loss.",
        ge=1,
        le=65536,
        advanced=True,
    )
    optimizer: Literal["adam", "adamax", "adamw"] = field(
        "adam", title="Optimizer", help="Adam, Adamax, or AdamW: Adam with decoupled weight decay."
    )
    weight_decay: float = field(
        0.01,
        title="Weight decay",
        help="AdamW alone: a step takes this times the learning rate off each matrix; biases and scales keep theirs.",
        ge=0.0,
        le=1.0,
        advanced=True,
    )
    learning_rate: float = field(1e-3, title="Learning rate", help="Highest learning rate.", gt=0.0, le=1.0)
    schedule: Literal["constant", "cosine"] = field(
        "cosine", title="Schedule", help="Constant, or a cosine that falls to zero over the stage."
    )
    warmup_steps: int = field(
        50,
        title="Warm-up",
        help="The learning rate rises linearly over this many steps.",
        unit="steps",
        ge=0,
        le=1_000_000,
    )
    gradient_clip: float = field(
        30.0,
        title="Gradient clip",
        help="Largest norm of the gradient; zero switches it off.",
        ge=0.0,
        le=1e6,
        advanced=True,
    )
    ema_decay: float = field(
        0.0,
        title="Weight averaging",
        help="Decay of the running average of the weights, say 0.999; the average is what is validated, drawn and "
        "saved. Zero switches it off.",
        ge=0.0,
        lt=1.0,
        advanced=True,
    )
    early_stop: int = field(
        8,
        title="Teacher's patience",
        help="The teacher ends after this many evaluations without improvement; zero never ends it early.",
        unit="evaluations",
        ge=0,
        le=100_000,
        advanced=True,
    )
    checkpoint_every: int = field(
        200,
        title="Checkpoint",
        help="Steps between two checkpoints, from which a broken run can be resumed.",
        unit="steps",
        ge=1,
        le=1_000_000,
        advanced=True,
    )

    @field_validator("teacher_weights")
    @classmethod
    def _whole_path(cls, value: str, info: ValidationInfo) -> str:
        return whole_weights(value, folder_of(info))

    @property
    def teacher_given(self) -> bool:
        """Whether the teacher comes from elsewhere and is not trained."""
        return bool(self.teacher_weights)

    @property
    def teacher_from_python(self) -> bool:
        """Whether it was given in Python, so that no file has it."""
        return self.teacher_weights.startswith(FROM_PYTHON)


class SeedsConfig(Config, frozen=True):
    """How often the experiment is repeated with other random numbers."""

    count: int = field(
        1,
        title="Seeds",
        help="Repetitions; a verdict needs at least three.",
        unit="seeds",
        ge=1,
        le=100,
    )
    first: int = field(1, title="First seed", help="The seeds count up from here.", ge=0, lt=2**31, advanced=True)
    retrain_teacher: bool = field(
        False,
        title="Teacher per seed",
        help="Train a teacher (and assistants) of its own for each seed; otherwise the first seed's serves all.",
        advanced=True,
    )
    metric: Literal["likelihood", "c2st", "samples_per_second"] = field(
        "likelihood",
        title="Primary metric",
        help=(
            "What the verdict is about, named before anything runs: the test likelihood; C2ST, how well a classifier "
            "tells samples from test data; or samples per second. The others get an interval and no verdict."
        ),
        advanced=True,
    )

    def values(self) -> list[int]:
        """Return the seeds themselves."""
        return list(range(self.first, self.first + self.count))


class ComputeConfig(Config, frozen=True):
    """The device and the number of threads."""

    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        "auto", title="Device", help="Auto takes CUDA, then MPS, then the processor."
    )
    threads: int = field(
        0,
        title="Threads",
        help="Threads of the processor for one operation; zero leaves one core to the studio.",
        ge=0,
        le=1024,
        advanced=True,
    )


class MonitorConfig(Config, frozen=True):
    """What is measured and drawn while a stage runs."""

    evaluate_every: int = field(
        50, title="Validate", help="Steps between two validations.", unit="steps", ge=1, le=1_000_000
    )
    validation_examples: int = field(
        2000,
        title="Validation examples",
        help="Most examples that each of these validations takes; the figures at the end take all.",
        unit="examples",
        ge=8,
        le=100_000_000,
        advanced=True,
    )
    pictures_every: int = field(
        100,
        title="Pictures",
        help="Steps between two sets of samples, interpolations and matching errors.",
        unit="steps",
        ge=1,
        le=1_000_000,
    )
    shares_every: int = field(
        50,
        title="Gradient shares",
        help="Steps between two measurements of each term's share of the gradient; zero switches them off. "
        "One costs a backward pass for each term: with four about a step more, 2 % of the time at every 50.",
        unit="steps",
        ge=0,
        le=1_000_000,
        advanced=True,
    )
    sample_count: int = field(
        64, title="Samples", help="How many samples a picture shows.", unit="samples", ge=1, le=4096, advanced=True
    )
    temperature: float = field(
        0.7, title="Temperature", help="Scale of the noise for the live samples.", gt=0.0, le=2.0
    )
    interpolation_steps: int = field(
        9, title="Interpolation steps", help="Images from one end to the other.", ge=3, le=65, advanced=True
    )
    interpolation_mode: Literal["linear", "spherical", "norm_corrected"] = field(
        "norm_corrected", title="Interpolation", help="The path between two latents."
    )
