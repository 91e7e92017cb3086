"""Training, seeds and compute devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import ValidationInfo, field_validator

from nfkd.config.base import Config, Needs, field
from nfkd.config.datasets import absolute_path, base_folder

FROM_PYTHON = "python:"
"""Prefix of `TrainingConfig.teacher_weights` for a teacher passed in Python; its name and fingerprint follow."""


WEIGHT_DECAYS = (0.0, 0.1, 0.5)
"""What `TrainingConfig.baseline_search` tries."""
_TRAINED_TEACHER: Needs = {".teacher_weights": False}
_LISTED_GPUS = 4
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9]\d{0,2}))?")


def absolute_weights_path(value: str, folder: Path) -> str:
    """Return the absolute path of a teacher's weights; a relative one starts from `folder`."""
    if not value.strip():
        return ""
    return value if value.startswith(FROM_PYTHON) else str(absolute_path(value, folder))  # not stripped


class TrainingConfig(Config, frozen=True):
    """The optimizer and the budget. Student, baseline and ablation always get the same number of steps."""

    teacher_steps: int = field(
        1500,
        title="Teacher steps",
        help="Maximum steps of the teacher.",
        unit="steps",
        ge=1,
        le=10_000_000,
        needs=_TRAINED_TEACHER,
    )
    teacher_weights: str = field(
        "",
        title="Teacher's weights",
        help=(
            "The folder of an earlier run (the teacher of its first seed is used), or a .safetensors file from NFKD: "
            "this teacher is used and not trained. Leave empty to train one."
        ),
        format="run",
        max_length=4096,
    )
    assistant_steps: int = field(
        1000,
        title="Assistant steps",
        help="Steps of each assistant.",
        unit="steps",
        ge=1,
        le=10_000_000,
        needs={"assistants": True},
    )
    student_steps: int = field(
        1000,
        title="Student steps",
        help="Steps of the student, its baseline and its ablation.",
        unit="steps",
        ge=1,
        le=10_000_000,
    )
    baseline: bool = field(
        True,
        title="Baseline",
        help="Also train the same student without the teacher, for comparison. Without a baseline, a run is shorter "
        "and has no verdict.",
    )
    ablations: bool = field(
        False,
        title="Ablation",
        help="Also train the student with what it inherits but by maximum likelihood on data alone: without "
        "the pool and the teacher's terms. Shows what these add to the inheritance. Only with Inherit.",
        advanced=True,
        needs={"distillation.inherit": ("mixing", "blocks")},
    )
    student_examples: int = field(
        0,
        title="Student's examples",
        help="How many training examples all flows but the teacher see, chosen at random once for all seeds. "
        "Zero gives them all.",
        unit="examples",
        zero="all",
        ge=0,
        le=100_000_000,
    )
    noise_draws: int = field(
        0,
        title="Noise draws",
        help="Draws of noise, flips and shifts of each training example, for all flows but the teacher; each step "
        "takes one of them. The teacher's passes over them are then cached. Zero draws anew at every step.",
        unit="draws",
        zero="a new one at every step",
        ge=0,
        le=1024,
        advanced=True,
    )
    batch_size: int = field(128, title="Batch", help="Examples per step.", unit="examples", ge=1, le=65536)
    precision: Literal["float32", "tf32", "bf16"] = field(
        "float32",
        title="Precision",
        help="Precision of the networks inside couplings during training: bf16 takes less memory and is faster on "
        "supporting hardware; everything else is float32. TF32 lets an NVIDIA GPU round the operands of all matrix "
        "products and convolutions of a step to 10 bits. Every evaluation is float32.",
        advanced=True,
    )
    accumulate: int = field(
        1,
        title="Micro-batches",
        help="Number of parts of a batch whose gradients are added up: takes less memory for the same loss.",
        ge=1,
        le=65536,
        advanced=True,
    )
    activations: Literal["keep", "recompute"] = field(
        "keep",
        title="Activations",
        help="Keep all tensors that the backward pass of a step needs, or recompute them from the outputs of the "
        "layers: the memory then hardly depends on the number of steps of the flow, and training takes about 40 % "
        "longer. Gradients are the same up to rounding.",
        advanced=True,
    )
    optimizer: Literal["adam", "adamax", "adamw"] = field(
        "adam", title="Optimizer", help="Adam, Adamax, or AdamW: Adam with decoupled weight decay."
    )
    weight_decay: float = field(
        0.01,
        title="Weight decay",
        help="Only for AdamW: each step shrinks the matrices by this times the learning rate, but not biases and "
        "scales.",
        ge=0.0,
        le=1.0,
        advanced=True,
        needs=({".optimizer": ("adamw",)}, {".teacher_optimizer": ("adamw",), **_TRAINED_TEACHER}),
    )
    teacher_optimizer: Literal["same", "adam", "adamax", "adamw"] = field(
        "same",
        title="Teacher's optimizer",
        help="The optimizer of the teacher: the same, or one of its own. Weight decay that suits a small student may "
        "make the teacher's samples worse.",
        advanced=True,
        needs=_TRAINED_TEACHER,
    )
    teacher_learning_rate: float = field(
        0.0,
        title="Teacher's rate",
        help="Maximum learning rate of the teacher; zero means the same.",
        ge=0.0,
        le=1.0,
        advanced=True,
        needs=_TRAINED_TEACHER,
    )
    baseline_search: bool = field(
        False,
        title="Search weight decay",
        help="Before the first seed, train the baseline with each weight decay of 0, 0.1 and 0.5, for all of the "
        "student's steps. With every seed, student, baseline and ablation then use the one with the best "
        "likelihood on validation data. Only for AdamW; takes the time of three baselines.",
        advanced=True,
        needs={".optimizer": ("adamw",)},
    )
    learning_rate: float = field(1e-3, title="Learning rate", help="Maximum learning rate.", gt=0.0, le=1.0)
    schedule: Literal["constant", "cosine"] = field(
        "cosine", title="Schedule", help="Constant, or a cosine that falls to the final rate over the stage."
    )
    final_learning_rate: float = field(
        0.0,
        title="Final rate",
        help="Learning rate at the end of the cosine; at most the maximum learning rate.",
        ge=0.0,
        le=1.0,
        advanced=True,
        needs={".schedule": ("cosine",)},
    )
    second_moment_decay: float = field(
        0.999,
        title="Second moment",
        help="Decay of the optimizer's average of squared gradients, β₂: 0.999, or 0.95 as often for transformers.",
        ge=0.0,
        lt=1.0,
        advanced=True,
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
        help="Maximum norm of the gradient; zero switches clipping off.",
        zero="off",
        ge=0.0,
        le=1e6,
        advanced=True,
    )
    ema_decay: float = field(
        0.0,
        title="Weight averaging",
        help="Decay of the running average of the weights, such as 0.999. The average is validated, drawn and saved. "
        "Zero switches it off.",
        zero="off",
        ge=0.0,
        lt=1.0,
        advanced=True,
    )
    early_stop: int = field(
        8,
        title="Teacher's patience",
        help="The teacher's training ends after this many evaluations without improvement; zero never ends it early.",
        unit="evaluations",
        zero="off",
        ge=0,
        le=100_000,
        advanced=True,
        needs=_TRAINED_TEACHER,
    )
    checkpoint_every: int = field(
        200,
        title="Checkpoint",
        help="Steps between two checkpoints, from which an interrupted run can be resumed.",
        unit="steps",
        ge=1,
        le=1_000_000,
        advanced=True,
    )

    @field_validator("teacher_weights")
    @classmethod
    def _resolve_path(cls, value: str, info: ValidationInfo) -> str:
        return absolute_weights_path(value, base_folder(info))

    @property
    def student_batch_size(self) -> int:
        """Examples per step of all flows but the teacher: at most `student_examples`."""
        return min(self.batch_size, self.student_examples or self.batch_size)

    @property
    def teacher_given(self) -> bool:
        """Whether the teacher is given and not trained."""
        return bool(self.teacher_weights)

    @property
    def teacher_from_python(self) -> bool:
        """Whether the teacher was passed in Python, so that there is no file of it."""
        return self.teacher_weights.startswith(FROM_PYTHON)


Metric = Literal["likelihood", "c2st", "fd", "sw", "mmd", "precision", "recall", "same_noise", "samples_per_second"]


class SeedsConfig(Config, frozen=True):
    """Repetitions of the experiment with different random numbers."""

    count: int = field(
        1, title="Seeds", help="Repetitions; a verdict needs at least three.", unit="seeds", ge=1, le=100
    )
    first: int = field(1, title="First seed", help="The seeds count up from here.", ge=0, lt=2**31, advanced=True)
    retrain_teacher: bool = field(
        False,
        title="Teacher per seed",
        help="Train a teacher (and assistants) for each seed; otherwise all seeds use those of the first seed.",
        advanced=True,
        needs={".count": 1},
    )
    metric: Metric = field(
        "likelihood",
        title="Primary metric",
        help=(
            "The metric of the verdict: the test likelihood; C2ST, how well a classifier separates samples from test "
            "data; FD-local and other distances of samples from test data; precision "
            "and recall of samples; the distance to the teacher's samples; or samples per second. Other metrics get an "
            "interval, but no verdict."
        ),
        advanced=True,
        needs=({"training.baseline": True}, {"training.ablations": True}),
    )

    def values(self) -> list[int]:
        """Return the list of seeds."""
        return list(range(self.first, self.first + self.count))


class ComputeConfig(Config, frozen=True):
    """The kind of device, how many of them, and the number of threads."""

    device: str = field(
        "auto",
        title="Device",
        help="Auto uses CUDA if available, then MPS, then the CPU. CUDA:1 is the second GPU.",
        choices=("auto", "cpu", "cuda", *(f"cuda:{number}" for number in range(_LISTED_GPUS)), "mps"),
    )
    devices: int = field(
        1,
        title="Number of devices",
        help="GPUs that share each batch, or processes that share it on the CPU. Each is a process of its own, started "
        "with torchrun; the curves are those of one device up to rounding. Pays off for large batches and flows.",
        unit="devices",
        ge=1,
        le=1024,
        advanced=True,
    )
    threads: int = field(
        0,
        title="Threads",
        help="CPU threads for one operation, in each process; zero shares all cores but one between the processes.",
        unit="threads",
        zero="automatic",
        ge=0,
        le=1024,
        advanced=True,
    )
    check_every: int = field(
        0,
        title="Read values every",
        help="Steps between two reads of loss and gradient norm from the device. A GPU computes without waiting until "
        "then; if a value is not finite, these steps are repeated one by one. Results do not depend on it. Automatic "
        "is every step on the CPU and with several devices, else at most 16 steps or about a second.",
        unit="steps",
        zero="automatic",
        ge=0,
        le=1000,
        advanced=True,
    )
    cuda_graphs: bool = field(
        False,
        title="CUDA graphs",
        help="Record the computation of a step once and replay it: faster where a GPU waits for Python. Only with one "
        "CUDA device; elsewhere, and where recording fails, steps are computed as usual. Takes more memory.",
        advanced=True,
    )

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        if not _DEVICE.fullmatch(device):
            msg = f"must be 'auto', 'cpu', 'cuda' or 'mps', or a numbered GPU such as 'cuda:1' (given: {device[:40]!r})"
            raise ValueError(msg)
        return device
