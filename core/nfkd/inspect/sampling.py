"""Makes samples of a run's flows from noise, with guidance and denoising where a request asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from nfkd.flows.denoising import denoised
from nfkd.flows.flow import Flow
from nfkd.inspect.opened import OpenedRun
from nfkd.protocol.inspection import SampleOptions
from nfkd.runs.errors import RunError

_UNGUIDED, _NOISY = "The samples cannot be guided", "The samples cannot be denoised"
_UNITERATED = "The samples cannot be iterated"


def check_options(opened: OpenedRun, options: SampleOptions) -> None:
    """Refuse options that no flow of a run takes: guidance, iteration, and denoising of images without Gaussian noise.

    Raises
    ------
    RunError
        With the reason.
    """
    if options.guidance and not any(flow.takes_guidance for flow in opened.flows.values()):
        cause = "Only TarFlow takes guidance, and none of this run's flows is one."
        raise RunError(_UNGUIDED, cause, "Set the guidance to 0.")
    if options.jacobi is not None and not any(is_iterated(flow, options) for flow in opened.flows.values()):
        cause = "Every flow of this run samples in one pass, and has nothing to iterate."
        raise RunError(_UNITERATED, cause, "Choose exact samples.")
    if options.denoise and not opened.dataset.gaussian_noise:
        cause = "The images of this run have no Gaussian noise (data.noise)."
        raise RunError(_NOISY, cause, "Turn denoising off.")


def is_iterated(flow: Flow, options: SampleOptions) -> bool:
    """Return whether the samples of a flow are from Jacobi iteration."""
    return options.jacobi is not None and "decode" in flow.iterated


@torch.no_grad()
def make_samples(
    opened: OpenedRun,
    flow: Flow,
    noise: list[Tensor],
    temperature: float,
    context: Tensor | None,
    options: SampleOptions,
) -> Tensor:
    """Return the samples of noise; a flow that takes no guidance is not guided, one of one pass not iterated.

    Raises
    ------
    RunError
        When the flow cannot be guided or iterated so.
    """
    check_options(opened, options)
    with ExitStack() as stack:
        if options.jacobi is not None and is_iterated(flow, options):
            with _refused(_UNITERATED, "Change the tolerance."):
                stack.enter_context(flow.jacobi(options.jacobi))
        if options.guidance and flow.takes_guidance:
            with _refused(_UNGUIDED, "Change the guidance, or set it to 0."):
                stack.enter_context(flow.guided(options.guidance, options.attention_temperature, context))
        x = flow.synthesize(noise, temperature, context)
    if not options.denoise or "log_prob" in flow.unsupported:
        return x
    return denoised(flow.log_prob, x, opened.dataset.gaussian_noise, context)


@contextmanager
def _refused(title: str, advice: str) -> Iterator[None]:
    """Raise a `RunError` in place of a `ValueError` or `TypeError`."""
    try:
        yield
    except (ValueError, TypeError) as error:
        message = str(error)
        raise RunError(title, f"{message[:1].upper()}{message[1:]}.", advice) from error
