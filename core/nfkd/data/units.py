"""The map between the units of a data set and the scaled values that a flow sees.

The data's units are those of the values that a source returns, before the scaling: `Loaded.train` after
`Loaded.prepare`. So missing values are filled in, images have the levels that the config keeps, and tables that are
published standardised (POWER, GAS, HEPMASS, MINIBOONE) are standardised.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from nfkd.data.dequantization import Dequantizer
from nfkd.data.scaling import Scaler, scaler_from_dict
from nfkd.transfer import to_device

Unit = Literal["bits/dim", "bits/dim (noisy)", "nats", "nats (scaled)"]
_EVALUATION_SEED = 20_250_621
_MOST_LEVELS = 2**16
_ROUNDING = 0.01  # of a level: single precision may round 255 + u up to 256, and a decoded zero to below 0
_MOST_TEXT = 64_000_000  # the header of a safetensors file ends at 100 MB


def evaluation_noise() -> torch.Generator:
    """Return a new CPU generator of the dequantization noise of evaluations: the same for every flow and run."""
    return torch.Generator().manual_seed(_EVALUATION_SEED)


@dataclass(frozen=True, eq=False)
class DataUnits:
    """How the values and contexts of a data set were scaled, and the unit of its likelihood.

    Attributes
    ----------
    levels
        Number of levels of an image's channels; None for vectors.
    scaler
        Of vectors; None if they were not scaled, and for images.
    context_scaler
        Of the context; None if it was not scaled, or there is none.
    standardised
        Whether the values were published standardised; their likelihood is reported in these units.
    dequantizer
        Adds noise to columns of vectors with repeated values, before the scaling; None if there are none.
    gaussian_noise
        Standard deviation of the Gaussian noise that images in [0, 1) get in place of uniform noise; zero for none.
    """

    levels: int | None = None
    scaler: Scaler | None = None
    context_scaler: Scaler | None = None
    standardised: bool = False
    dequantizer: Dequantizer | None = None
    gaussian_noise: float = 0.0

    @property
    def unit(self) -> Unit:
        """The unit in which the likelihood is reported.

        *Noisy* means that it is the density of images with Gaussian noise, which bounds no discrete likelihood.
        *Scaled* means that it is not the likelihood of the original values: the scaling is not invertible everywhere,
        or the data is published standardised.
        """
        if self.levels is not None:
            return "bits/dim (noisy)" if self.gaussian_noise else "bits/dim"
        original = self.scaler is None or self.scaler.log_volume is not None
        return "nats" if original and not self.standardised else "nats (scaled)"

    def log_volume(self, event_shape: Sequence[int]) -> float:
        """Return the log-determinant of the map from the data's units to scaled values, nats.

        With the constant of dequantized columns, so that likelihoods have probabilities of their values. 0 for a
        quantile scaling, since likelihoods are then densities of the scaled values.
        """
        if self.levels is not None:
            return -math.prod(event_shape) * math.log(self.levels)
        scaling = 0.0 if self.scaler is None else self.scaler.log_volume
        if scaling is None:
            return 0.0
        return scaling + (0.0 if self.dequantizer is None else self.dequantizer.log_volume)

    def nll(self, log_prob: Tensor, event_shape: Sequence[int]) -> Tensor:
        """Return the negative log-likelihood of each example in `unit`.

        Images: −log₂ p(x)/D + log₂ levels, a bound on the discrete likelihood in bits/dim. Vectors: −log p in nats, of
        the original values if the scaling is invertible everywhere (its log-determinant is then added, and the
        constant of dequantized columns).

        Parameters
        ----------
        log_prob
            Log-densities of scaled values, (B,) nats.
        event_shape
            Of an example.
        """
        if self.levels is not None:
            return -log_prob / (math.prod(event_shape) * math.log(2)) + math.log2(self.levels)
        return -log_prob - self.log_volume(event_shape)

    def dequantize(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Return whole levels as scaled values, float32: (k + u)/levels with u uniform in [0, 1).

        Theis et al. 2016, arXiv 1511.01844. With Gaussian noise (k + ½)/levels + σε (TarFlow, arXiv 2412.06329). For
        rows with a dequantizer: rows with noise, scaled.

        Parameters
        ----------
        raw
            Whole levels, any shape; or rows in the data's units.
        generator
            On the CPU.
        """
        if self.dequantizer is not None:
            return self._noisy(raw, generator).float()
        draw = torch.randn if self.gaussian_noise else torch.rand
        noise = draw(raw.shape, generator=generator, dtype=torch.float32, device=generator.device)
        noise = to_device(noise, raw.device)
        if self.gaussian_noise:
            return (raw.float() + 0.5) / (self.levels or 1) + self.gaussian_noise * noise
        return (raw.float() + noise) / (self.levels or 1)

    def to_scaled(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return values in the data's units as scaled values.

        Parameters
        ----------
        x
            (B, features), of any dtype. Or images, (B, channels, height, width): whole levels, of any dtype, are
            dequantized; other values must be dequantized levels, in [0, levels).
        generator
            Of the noise for whole levels and dequantized columns; a new `evaluation_noise` by default.

        Returns
        -------
        Tensor
            Scaled vectors in float64; images with noise in float32; otherwise in x's dtype.

        Raises
        ------
        ValueError
            If an image has values outside [0, levels).
        """
        if self.levels is not None:
            whole = _check_levels(x, self.levels)
            return self.dequantize(x, generator or evaluation_noise()) if whole else x / self.levels
        return self._noisy(x, generator or evaluation_noise())

    def middles(self, x: Tensor) -> Tensor:
        """Return rows in the data's units as scaled values, those of dequantized columns at the middles of steps."""
        return self._noisy(x, None)

    def _noisy(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return scaled rows, with noise in dequantized columns; without a generator, at the middles of steps."""
        if self.dequantizer is not None:
            x = _in_float64(partial(self.dequantizer.spread, generator=generator), x)
        return x if self.scaler is None else _in_float64(self.scaler.scale, x)

    def to_data(self, z: Tensor) -> Tensor:
        """Return scaled values in the data's units: images as dequantized levels; scaled vectors in float64.

        Dequantized columns get the values whose noise would lead here.
        """
        if self.levels is not None:
            return z * self.levels
        rows = z if self.scaler is None else _in_float64(self.scaler.unscale, z)
        return rows if self.dequantizer is None else _in_float64(self.dequantizer.collect, rows)

    def scale_context(self, context: Tensor) -> Tensor:
        """Return contexts in the data's units, (B, context features), as scaled ones; float64 if they change."""
        return context if self.context_scaler is None else _in_float64(self.context_scaler.scale, context)

    def to_json(self) -> str:
        """Return a text from which `units_from_json` makes the same units, bit for bit.

        Empty if it is too long for a weights file, as for the quantiles of thousands of columns.
        """
        values, context = (None if each is None else each.to_dict() for each in (self.scaler, self.context_scaler))
        fields: dict[str, Any] = {"levels": self.levels, "values": values, "context": context}
        fields["standardised"] = self.standardised
        if self.dequantizer is not None:  # without it, older versions of NFKD can read the file
            fields["noise"] = self.dequantizer.to_list()
        if self.gaussian_noise:
            fields["gaussian"] = self.gaussian_noise
        text = json.dumps(fields)
        return text if len(text) <= _MOST_TEXT else ""


def units_from_json(text: str, event_shape: Sequence[int], context_features: int) -> DataUnits:
    """Return the units that `DataUnits.to_json` described.

    Parameters
    ----------
    text
        Possibly of an untrusted file.
    event_shape, context_features
        Of the flow.

    Raises
    ------
    ValueError
        If it describes no units of such a flow; the message says what is wrong.
    """
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = "it is not JSON"
        raise ValueError(msg) from error
    names = {"levels", "values", "context", "standardised"}
    complete = isinstance(fields, dict) and fields.keys() - {"noise", "gaussian"} == names
    if not complete or not isinstance(fields["standardised"], bool):
        msg = f"it does not have the fields {', '.join(sorted(names))}"
        raise ValueError(msg)
    levels, values, context = (fields[name] for name in ("levels", "values", "context"))
    if levels is not None and not (
        type(levels) is int and 2 <= levels <= _MOST_LEVELS and len(event_shape) == 3 and values is None
    ):
        msg = "its levels are not those of images"
        raise ValueError(msg)
    if len(event_shape) == 3 and levels is None:
        msg = "it lacks the levels of the images"
        raise ValueError(msg)
    if "noise" in fields and len(event_shape) != 1:
        msg = "it has noise of columns, and the examples are images"
        raise ValueError(msg)
    gaussian = fields.get("gaussian", 0.0)
    if (levels is None and gaussian) or not (type(gaussian) in (int, float) and 0 <= gaussian <= 1):
        msg = "its Gaussian noise is not that of images"
        raise ValueError(msg)
    return DataUnits(
        levels,
        None if values is None else scaler_from_dict(values, event_shape[0]),
        None if context is None else scaler_from_dict(context, context_features),
        fields["standardised"],
        Dequantizer.from_list(fields["noise"], event_shape[0]) if "noise" in fields else None,
        float(gaussian),
    )


def _in_float64(function: Any, x: Tensor) -> Tensor:
    """Apply a map in float64 and return the result on the device of x; MPS has no float64."""
    if x.device.type != "mps":
        return function(x.double())
    return function(x.cpu().double()).float().to(x.device)


def _check_levels(x: Tensor, levels: int) -> bool:
    """Return whether images are whole levels; refuse values outside [0, levels), and warn if all are in [0, 1]."""
    if not x.numel():
        return False
    if not x.is_floating_point():
        x = x.long()
    low, high, whole = float(x.min()), float(x.max()), bool((x == x.floor()).all())
    slack = 0 if whole else _ROUNDING
    if not (low >= -slack and high <= (levels - 1 if whole else levels) + slack):
        msg = (
            f"images must be in levels: whole ones from 0 to {levels - 1}, or dequantized ones in [0, {levels}); "
            f"these go from {low:g} to {high:g}"
        )
        raise ValueError(msg)
    if high <= 1 and not whole and levels > 2:
        message = f"all values are in [0, 1], but images must be in levels from 0 to {levels - 1}: are they scaled?"
        warnings.warn(message, stacklevel=4)
    return whole
