"""Makes samples of a run's flows from noise, with guidance and denoising where a request asks for them."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from nfkd.flows.denoising import denoised
from nfkd.flows.flow import Flow
from nfkd.inspect.opened import OpenedRun
from nfkd.protocol.inspection import SampleOptions
from nfkd.runs.errors import RunError

_UNGUIDED, _NOISY = "The samples cannot be guided", "The samples cannot be denoised"


def check_options(opened: OpenedRun, options: SampleOptions) -> None:
    """Refuse guidance of a run without a flow that takes it, and denoising of images without Gaussian noise.

    Raises
    ------
    RunError
        With the reason.
    """
    if options.guidance and not any(flow.takes_guidance for flow in opened.flows.values()):
        cause = "Only TarFlow takes guidance, and none of this run's flows is one."
        raise RunError(_UNGUIDED, cause, "Set the guidance to 0.")
    if options.denoise and not opened.dataset.gaussian_noise:
        cause = "The images of this run have no Gaussian noise (data.noise)."
        raise RunError(_NOISY, cause, "Turn denoising off.")


@torch.no_grad()
def make_samples(
    opened: OpenedRun,
    flow: Flow,
    noise: list[Tensor],
    temperature: float,
    context: Tensor | None,
    options: SampleOptions,
) -> Tensor:
    """Return the samples of noise; a flow that takes no guidance is not guided.

    Raises
    ------
    RunError
        When the flow cannot be guided so.
    """
    check_options(opened, options)
    guides = options.guidance and flow.takes_guidance
    try:
        with flow.guided(options.guidance, options.attention_temperature, context) if guides else nullcontext():
            x = flow.synthesize(noise, temperature, context)
    except ValueError as error:
        message = str(error)
        cause = f"{message[:1].upper()}{message[1:]}."
        raise RunError(_UNGUIDED, cause, "Change the guidance, or set it to 0.") from error
    if not options.denoise or "log_prob" in flow.unsupported:
        return x
    return denoised(flow.log_prob, x, opened.dataset.gaussian_noise, context)
