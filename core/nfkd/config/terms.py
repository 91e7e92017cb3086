"""The terms of the student's loss: description, weight with a schedule, and settings of each."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ValidationInfo, field_validator

from nfkd.config.base import Config, field
from nfkd.config.datasets import absolute_path, base_folder

_WALTON = "Walton et al. 2025, arXiv 2506.21003"


def _weight(default: float) -> Any:
    return field(default, title="Weight", help="Weight of the term; zero leaves it out.", ge=0.0, le=1e6)


def _batch_size(help_text: str) -> Any:
    return field(64, title="Batch", help=help_text, unit="samples", ge=1, le=65536, advanced=True)


def _temperature(help_text: str, *, advanced: bool) -> Any:
    return field(1.0, title="Temperature", help=help_text, gt=0.0, le=2.0, advanced=advanced)


class TermConfig(Config, frozen=True):
    """A term of the loss. The first line of its docstring is its summary in the form and in README.

    Attributes
    ----------
    label
        Name in curves and messages.
    title
        Name in the form.
    paper
        Who described it and where.
    formula
        Its value in plain characters: S and T are student and teacher, D the number of dimensions.
    unit
        Unit of its value; empty for likelihoods, whose unit depends on the data.
    matches
        Whether it reads the matched layers.
    """

    label: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    formula: ClassVar[str]
    unit: ClassVar[str] = ""
    matches: ClassVar[bool] = False

    weight: float = _weight(0.0)
    schedule: Literal["constant", "linear", "cosine", "warmup"] = field(
        "constant",
        title="Schedule",
        help="Constant; linear or cosine: from the weight to a fraction of it; warm-up: from zero up to the weight.",
        advanced=True,
    )
    schedule_end: float = field(
        0.0,
        title="At the end",
        help="Fraction of the weight at the end of a linear or cosine schedule.",
        ge=0.0,
        le=1e6,
        advanced=True,
        needs={".schedule": ("linear", "cosine")},
    )
    schedule_span: float = field(
        1.0,
        title="Span",
        help="Fraction of the student's steps over which the weight changes; afterwards it is constant.",
        gt=0.0,
        le=1.0,
        advanced=True,
        needs={".schedule": ("linear", "cosine", "warmup")},
    )

    @classmethod
    def summary(cls) -> str:
        """Return what the term is, in one line."""
        return (cls.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def value_unit(self) -> str:
        """Unit of its value with these settings; empty for likelihoods."""
        return self.unit

    @property
    def ends_at_zero(self) -> bool:
        """Whether the schedule takes the weight down to zero."""
        return self.schedule in {"linear", "cosine"} and self.schedule_end == 0


class LatentTermConfig(TermConfig, frozen=True):
    """A term that compares latents level by level."""

    normalize: bool = field(
        False,
        title="Normalise",
        help="Divide the squared difference of each level by the variance of the teacher's latents there, over the "
        "batch: a level then counts the same whatever the scale of its latents.",
        advanced=True,
    )

    @property
    def value_unit(self) -> str:
        """Unit of its value: relative to the teacher's variance if normalised."""
        return "teacher's variance" if self.normalize else self.unit


class NLLConfig(TermConfig, frozen=True):
    """Maximum likelihood: −log p of the data, in bits/dim for images and nats per dimension for vectors."""

    label, title = "NLL", "Maximum likelihood (NLL)"
    formula = "mean of −log p_S(x) over the data"
    paper = "Dinh et al. 2015, arXiv 1410.8516"
    weight: float = _weight(0.85)


class LKDConfig(LatentTermConfig, frozen=True):
    """Squared difference of all final latents of student and teacher."""

    label, title = "LKD", "Final latents (LKD)"
    formula = "mean of (z_S − z_T)² over all latents"
    paper, unit = _WALTON, "squared latent"
    weight: float = _weight(0.05)


class ILKDConfig(LatentTermConfig, frozen=True):
    """Squared difference at matched layers between student and teacher."""

    label, title = "ILKD", "Intermediate latents (ILKD)"
    formula = "mean of (h_S − h_T)² over the dimensions of a layer, and over the pairs of layers by their weights"
    paper, unit, matches = _WALTON, "squared latent", True
    weight: float = _weight(0.05)


class SKDConfig(TermConfig, frozen=True):
    """Difference of samples that student and teacher make from the same noise: L1, L2 or VGG features."""

    label, title = "SKD", "Synthesized samples (SKD)"
    formula = "mean of |x_S − x_T| (L1) or (x_S − x_T)² (L2) over the dimensions, both from the same noise"
    paper, unit = _WALTON, "data"
    weight: float = _weight(0.05)
    distance: Literal["l1", "l2", "perceptual"] = field(
        "l1",
        title="Distance",
        help="Absolute (L1) or squared (L2) difference of the two samples, or squared difference of VGG features.",
    )
    perceptual_weights: str = field(
        "",
        title="VGG weights",
        help="A file of torchvision's VGG-16 or VGG-19 weights (.pth or .safetensors), for the perceptual distance.",
        format="file",
        max_length=4096,
        advanced=True,
        needs={".distance": ("perceptual",)},
    )
    temperature: float = _temperature("Scale of the noise that both flows get.", advanced=False)
    batch_size: int = _batch_size("How many samples are synthesized at each step.")

    @field_validator("perceptual_weights")
    @classmethod
    def _whole_path(cls, value: str, info: ValidationInfo) -> str:
        return str(absolute_path(value, base_folder(info))) if value.strip() else ""  # a name may end in a space


class ForwardKLConfig(TermConfig, frozen=True):
    """−log p of samples that the teacher draws, in a batch of their own."""

    label, title = "Forward KL", "Teacher's samples (forward KL)"
    formula = "mean of −log p_S(x) over samples x of the teacher"
    paper = "Bucilă et al. 2006, doi 10.1145/1150402.1150464"
    temperature: float = _temperature("Scale of the noise that the teacher draws from.", advanced=True)
    batch_size: int = _batch_size("How many samples the teacher draws at each step.")


class ReverseKLConfig(TermConfig, frozen=True):
    """log p of the student minus the teacher's, on the student's own samples."""

    label, title = "Reverse KL", "Student's samples (reverse KL)"
    formula = "mean of log p_S(x) − log p_T(x) over samples x of the student"
    paper = "van den Oord et al. 2018, arXiv 1711.10433"
    batch_size: int = _batch_size("How many samples the student draws at each step; shared with SKD if equal.")


class DensityConfig(TermConfig, frozen=True):
    """Squared difference of log p of student and teacher on the data, per dimension."""

    label, title = "Density", "Log-densities"
    formula = "mean of ((log p_S(x) − log p_T(x)) / D)² over the data"
    paper, unit = "Ba & Caruana 2014, arXiv 1312.6184, for log-densities", "(nat/dim)²"


class LogDetConfig(TermConfig, frozen=True):
    """Squared difference of the log-determinants between matched layers, per dimension."""

    label, title = "Log-det", "Log-determinants"
    formula = "Σ ((Δ_S − Δ_T) / D)² over the matched layers, Δ the log-determinant since the one before"
    paper, unit = "the counterpart of ILKD, Walton et al. 2025, arXiv 2506.21003", "(nat/dim)²"
    matches = True


class ScoreConfig(TermConfig, frozen=True):
    """Squared difference of the gradients of log p in x (Fisher divergence); needs second derivatives."""

    label, title = "Score", "Scores"
    formula = "mean of ‖∇ log p_S(x) − ∇ log p_T(x)‖² / D over the data"
    paper = "Hyvärinen 2005, JMLR 6:695; Czarnecki et al. 2017, arXiv 1706.04859"
    unit = "squared score"


class JacobianConfig(TermConfig, frozen=True):
    """Squared difference of both Jacobians' products with random vectors, from x to all latents."""

    label, title = "Jacobian", "Jacobians"
    formula = "mean of ‖J_S v − J_T v‖² / D, v a vector of random signs"
    paper, unit = "Srinivas & Fleuret 2018, arXiv 1803.00443", "squared latent"


class RelationalConfig(TermConfig, frozen=True):
    """Huber loss on the normalised distances between the latents of a batch's examples."""

    label, title = "Relational", "Distances between latents (relational)"
    formula = "mean of Huber(ψ_S − ψ_T), ψ the distances ‖z − z'‖ in a batch, divided by their mean"
    paper, unit = "Park et al. 2019 (RKD), arXiv 1904.05068", "relative distance"


class NoisyReverseConfig(TermConfig, frozen=True):
    """Squared error of the student's inverse from the teacher's noisy latents, at matched layers and the data."""

    label, title = "Noisy reverse", "Noisy inverse (noisy reverse)"
    formula = "mean of (h_S − h_T)² over the dimensions, h_S from the student's inverse of z_T + noise"
    paper, unit, matches = "Zheng et al. 2025 (FARMER), arXiv 2510.23588", "squared latent", True
    noise: float = field(
        0.3,
        title="Noise",
        help="Largest scale of the noise on the latents; each example's scale is drawn uniformly from zero to this.",
        ge=0.0,
        le=10.0,
        advanced=True,
    )
