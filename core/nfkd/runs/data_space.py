"""A trained flow in the units of its data."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nfkd.data.units import DataUnits, Unit, evaluation_noise, units_from_json
from nfkd.flows.flow import Capability, Flow, Latents, Pass, evaluating
from nfkd.flows.inputs import as_tensor, check_context, check_examples, describe_type
from nfkd.flows.jacobi import TOLERANCE, SampleMethod
from nfkd.protocol.requests import LayerInfo
from nfkd.runs.errors import RunError
from nfkd.runs.weights import load_scaled_flow

_BATCH = 512
_UNKNOWN = DataUnits(standardised=True)


class DataSpaceFlow(nn.Module):
    """A flow with the scaling of its data, so that inputs and samples are in the data's own units.

    NFKD trains flows on scaled values: vectors by ``data.scaling``, images as (level + noise)/levels. Here rows,
    contexts and samples are unscaled: in the units of the loaded values, as in `nfkd.data.units`.

    Vectors
        x and samples are rows in the units of the table, in any type; they are scaled in float64. `log_prob` is
        the log-density per volume of these units, so that the mean of ``-log_prob(rows)`` is the reported figure in
        nats (the weighted mean, for data with weights). A quantile scaling has no volume everywhere: `log_prob` and
        the reported figure, *nats (scaled)*, are then the log-density of the *scaled* values.
    Images
        x is whole levels 0, …, levels − 1 of any dtype, to which the same noise is added at every call, as in NFKD's
        evaluations; or dequantized levels in [0, levels). `log_prob` is the log-density per volume of levels, and
        `nll` the reported figure in bits/dim. Samples are whole levels.
    Dequantized columns
        Rows get the same noise at every call, as in NFKD's evaluations, and `log_prob` has a lower bound of the log of
        their probability. `decode` and `sample` return values of the data, without noise.
    Context
        In the units of the table.

    x and contexts may be tensors on any device, NumPy arrays, data frames or nested lists; results are tensors on the
    flow's device, in its dtype.

    Attributes
    ----------
    scaled
        The trained flow itself, on scaled values.
    units
        The scaling.
    event_shape
        Shape of one example.
    context_features
        Length of each example's context; 0 for an unconditional flow.
    """

    def __init__(self, scaled: Flow, units: DataUnits) -> None:
        super().__init__()
        self.scaled, self.units = scaled, units
        self.event_shape, self.context_features = scaled.event_shape, scaled.context_features

    @property
    def unit(self) -> Unit:
        """Unit of `nll` and of the run's figures."""
        return self.units.unit

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """Shape of each latent of one example, as in `Flow`."""
        return self.scaled.latent_shapes

    @property
    def unsupported(self) -> dict[Capability, str]:
        """Unsupported operations, as in `Flow`."""
        return self.scaled.unsupported

    def layer_info(self) -> list[LayerInfo]:
        """Return every layer's name, kind, output shape and number of parameters."""
        return self.scaled.layer_info()

    def forward(self, x: Tensor | ArrayLike, context: Tensor | ArrayLike | None = None, *, trace: bool = False) -> Pass:
        """Map data to latents in one pass.

        Parameters
        ----------
        x
            (B, *event_shape) in the data's units.
        context
            (B, context_features) in the data's units, for a conditional flow.
        trace
            Whether to keep the output of each layer.

        Returns
        -------
        Pass
            Log-density and log-determinants are with respect to x in the data's units.

        Raises
        ------
        TypeError
            When x or the context does not hold real numbers.
        ValueError
            When x has a wrong shape or is not levels, or the context is missing, unexpected or of a wrong shape.
        """
        scaled = self.scaled(self._scaled(x), self._scaled_context(context), trace=trace)
        volume = self.units.log_volume(self.event_shape)
        latents = Latents(scaled.latents.parts, scaled.latents.log_det + volume)
        layers = {name: (value, log_det + volume) for name, (value, log_det) in scaled.trace.items()}
        return Pass(scaled.log_prob + volume, latents, layers)

    def log_prob(self, x: Tensor | ArrayLike, context: Tensor | ArrayLike | None = None) -> Tensor:
        """Return the log-density of each example per volume of the data's units, (B,) nats; arguments as `forward`."""
        return self(x, context).log_prob

    def encode(self, x: Tensor | ArrayLike, context: Tensor | ArrayLike | None = None) -> Latents:
        """Return the latents of each example; arguments and errors as in `forward`."""
        return self(x, context).latents

    def trace(
        self, x: Tensor | ArrayLike, context: Tensor | ArrayLike | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return ``{layer: (tensor after it, log-determinant so far)}`` in order; arguments as in `forward`."""
        return self(x, context, trace=True).trace

    @torch.no_grad()
    def nll(self, x: Tensor | ArrayLike, context: Tensor | ArrayLike | None = None) -> Tensor:
        """Return each example's negative log-likelihood in `unit`, (N,) float64 on the CPU.

        The mean over the test split, in its order, is the reported figure. Computed in batches, in evaluation mode and
        without gradients; arguments and errors as in `forward`.
        """
        generator, cpu = evaluation_noise(), torch.device("cpu")  # batches are moved to the flow's device one by one
        figures = [torch.empty(0, dtype=torch.float64, device="cpu")]
        x, context = as_tensor("x", x, cpu), None if context is None else as_tensor("context", context, cpu)
        check_examples(x, self.event_shape, x)
        check_context(context, self.context_features, len(x), x if context is None else context)
        with evaluating(self.scaled):
            for start in range(0, len(x), _BATCH):
                rows = slice(start, start + _BATCH)
                c = None if context is None else self._scaled_context(context[rows])
                log_prob = self.scaled.log_prob(self._scaled(x[rows], generator), c)
                figures.append(self.units.nll(log_prob, self.event_shape).double().cpu())
        return torch.cat(figures)

    def decode(self, latents: Latents, context: Tensor | ArrayLike | None = None) -> Tensor:
        """Return the examples of latents, (B, *event_shape), in the data's units; images as dequantized levels."""
        x = self.scaled.decode(latents, self._scaled_context(context))
        return self.units.to_data(x).to(x.dtype)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        context: Tensor | ArrayLike | None = None,
        *,
        method: SampleMethod = "exact",
        tolerance: float = TOLERANCE,
        segment: int | None = None,
        guidance: float = 0.0,
        attention_temperature: float | None = None,
        denoise: bool = False,
    ) -> Tensor:
        """Return n samples in the data's units, (n, *event_shape).

        Vectors are in the flow's dtype: call ``flow.double()`` first where single precision has too few digits for a
        column. Images are whole levels, clamped to 0, …, levels − 1, in uint8 (int32 for more than 256 levels).

        Parameters
        ----------
        temperature
            Scale of the noise.
        generator
            On the CPU; by default torch's own.
        context
            (n, context_features) in the data's units, for a conditional flow.
        method, tolerance, segment, guidance, attention_temperature
            As in `Flow.sample`.
        denoise
            Whether to remove the Gaussian noise that the flow's images had (`nfkd.flows.denoising`).

        Raises
        ------
        TypeError, ValueError
            When an argument does not fit the flow; the message says what to write.
        """
        if denoise and not self.units.gaussian_noise:
            msg = 'denoise needs a flow of images with Gaussian noise (data.noise = "gaussian"): give denoise=False'
            raise ValueError(msg)
        scaled = self._scaled_context(context)
        z = self.scaled.sample(
            n,
            temperature,
            generator,
            scaled,
            method=method,
            tolerance=tolerance,
            segment=segment,
            guidance=guidance,
            attention_temperature=attention_temperature,
            denoise=self.units.gaussian_noise if denoise else 0.0,
        )
        x = self.units.to_data(z)
        if self.units.levels is None:
            return x.to(z.dtype)
        levels = torch.nan_to_num(x).floor().clamp(0, self.units.levels - 1)
        return levels.to(torch.uint8 if self.units.levels <= 256 else torch.int32)

    @property
    def _like(self) -> Tensor:
        return next(self.scaled.parameters())

    def _scaled(self, x: Tensor | ArrayLike, generator: torch.Generator | None = None) -> Tensor:
        # The flow itself refuses a wrong shape.
        x = as_tensor("x", x, self._like.device)
        fits = x.dim() > 0 and tuple(x.shape[1:]) == self.event_shape
        return (self.units.to_scaled(x, generator) if fits else x).to(self._like.dtype)

    def _scaled_context(self, context: Tensor | ArrayLike | None) -> Tensor | None:
        if context is None:
            return None
        context = as_tensor("context", context, self._like.device)
        fits = context.dim() == 2 and context.shape[1] == self.context_features > 0
        return (self.units.scale_context(context) if fits else context).to(self._like.dtype)


def load_flow(path: str | os.PathLike[str]) -> DataSpaceFlow:
    """Return the flow of a run's weights file (``.safetensors``), in its data's units and in evaluation mode.

    For a file without a scaling (from an older NFKD, or imported) the flow uses scaled values, with a warning.

    Raises
    ------
    RunError
        When the file cannot be read, does not describe its flow, or its scaling is damaged.
    """
    if not isinstance(path, (str, os.PathLike)):
        msg = f"path is a {describe_type(path)}: give the path of a .safetensors file; of a run, run.load_student()"
        raise TypeError(msg)
    path = Path(path)
    info, flow = load_scaled_flow(path)
    if not info.units:
        message = (
            f"{path} has no scaling of its data, so the flow uses scaled values. Train the experiment again, or use "
            "units = nfkd.data.load_dataset(config.data).units: units.to_scaled for rows, units.to_data for samples"
        )
        warnings.warn(message, stacklevel=2)
        return DataSpaceFlow(flow, _UNKNOWN)
    try:
        units = units_from_json(info.units, flow.event_shape, flow.context_features)
    except ValueError as error:
        cause = f"The scaling of the data in {path} is damaged: {error}."
        raise RunError(
            title="The weights cannot be used", cause=cause, action="Use a file that NFKD has written."
        ) from error
    return DataSpaceFlow(flow, units)
