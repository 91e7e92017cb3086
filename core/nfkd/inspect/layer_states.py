"""An example on its way through the layers of every flow."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nfkd.data import Batch, Dataset
from nfkd.flows.flow import Flow
from nfkd.inspect.opened import OpenedRun, open_run
from nfkd.inspect.origin import examples_of
from nfkd.protocol.inspection import FlowStates, LayerState, LayerStates, Origin
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.training.monitor import picture_generator

Rest = Literal["mean", "noise"]


def layers(
    run: str | os.PathLike[str] | OpenedRun, origin: Origin, *, seed: int | None = None, rest: Rest = "mean"
) -> LayerStates:
    """Return the state of an example after each layer of each flow.

    The change of variables is ``log p(x) = log p(z) + Σ_k log |det J_k|``: `FlowStates.base_log_prob`, and the
    differences of `LayerState.log_det`.

    Parameters
    ----------
    run
        The directory of a run, or a run opened with `open_run`.
    origin
        The example.
    seed
        By default the first.
    rest
        The latents that left before a level, when an example is decoded from there: their means, or fresh noise.

    Raises
    ------
    RunError
        When the run cannot be read, has no flow with latents, or has no such example.
    """
    opened = open_run(run, seed)
    flows: dict[Role, FlowStates] = {}
    examples = examples_of(opened, origin)
    for number, (role, example) in enumerate(examples.items()):
        opened.work.check(number / len(examples))
        if "latents" not in opened.flows[role].unsupported:
            flows[role] = _states(opened.flows[role], example, opened.dataset, rest, opened.seed)
    if not flows:
        title = "The layers cannot be shown"
        raise RunError(title, "No flow of the run gives its latents.", "Choose another run.")
    return LayerStates(run=opened.run, seed=opened.seed, origin=origin, flows=flows)


@torch.no_grad()
def _states(flow: Flow, example: Batch, dataset: Dataset, rest: Rest, seed: int) -> FlowStates:
    passed = flow(example.x, example.context, trace=True)
    states: list[LayerState] = []
    splits = 0
    for layer in flow.layer_info():
        value, log_det = passed.trace[layer.name]
        splits += layer.kind == "split"
        states.append(
            LayerState(
                name=layer.name,
                label=layer.label,
                kind=layer.kind,
                value=_array(value),
                log_det=float(log_det[0]),
                splits=splits,
            )
        )
    log_prob, log_det = float(passed.log_prob[0]), float(passed.latents.log_det[0])
    return FlowStates(
        example=dataset.to_picture(example.x)[0],
        state=_array(example.x),
        layers=states,
        latents=[_array(part) for part in passed.latents.parts],
        decoded=_decoded(flow, example, dataset, rest, seed),
        base_log_prob=log_prob - log_det,
        log_prob=log_prob,
    )


def _decoded(flow: Flow, example: Batch, dataset: Dataset, rest: Rest, seed: int) -> list[np.ndarray]:
    """Return what decoding gives if the latents of the first k splits are replaced, for k from 0 to all splits."""
    if "synthesis" in flow.unsupported:
        return []
    pictures = [dataset.to_picture(example.x)[0]]
    own = flow.noise_of(example.x, example.context)
    fresh = flow.draw_noise(1, picture_generator(seed))
    for replaced in range(1, len(own)):
        others = [part if rest == "noise" else torch.zeros_like(part) for part in fresh[:replaced]]
        x = flow.synthesize([*others, *own[replaced:]], context=example.context)
        pictures.append(dataset.to_picture(x)[0])
    return pictures


def _array(value: Tensor) -> np.ndarray:
    return value[0].float().cpu().numpy()
