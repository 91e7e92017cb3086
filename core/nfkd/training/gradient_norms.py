"""The norms of the terms' gradients at a few real batches, for their shares before a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from nfkd.config import TrainingConfig
from nfkd.data import Dataset
from nfkd.distillation.distiller import Distiller
from nfkd.training.state import StageState
from nfkd.training.step import passes_of

_BATCHES = 3


def measure_norms(
    training: TrainingConfig,
    dataset: Dataset,
    state: StageState,
    loss: Distiller,
    *,
    seconds: float,
    check: Callable[[], None],
) -> dict[str, float]:
    """Return the mean norm of each term's gradient before its weight, over up to three further batches.

    The weights of the flow do not change. Empty where a norm is not finite, or there is only one term.

    Parameters
    ----------
    training, dataset
        The settings and the data of the stage.
    state
        The stage, whose flow is initialised.
    loss
        Its loss; it measures the gradients at step 0.
    seconds
        After this time no further batch is measured.
    check
        Called before each batch; may raise.
    """
    norms: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    device = next(state.flow.parameters()).device
    for _ in range(_BATCHES):
        check()
        index, generators = state.batches.next().numpy(), state.generators
        real = dataset.training_batch(index, generators.dequantization, generators.augmentation).to(device)
        with passes_of(training):
            measured = loss.backward(state.flow, loss.mix(real, generators), generators, 0, training.accumulate)
        norms.append({name: float(norm) for name, norm in measured.norms.items()})
        if time.perf_counter() > end:
            break
    means = {name: sum(batch[name] for batch in norms) / len(norms) for name in norms[0]}
    return means if all(math.isfinite(mean) for mean in means.values()) else {}
