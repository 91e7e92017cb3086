"""One example under every flow, and the training examples nearest to it."""

from __future__ import annotations

import math
import os

import numpy as np
import torch

from nfkd.data import Batch, Dataset, DataSplit
from nfkd.flows.flow import Flow
from nfkd.inspect.opened import OpenedRun, log_prob, open_run
from nfkd.inspect.origin import can_sample, check_count, examples_of
from nfkd.inspect.work import Work
from nfkd.protocol.inspection import Origin, SampleDetails, SampleFigures
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.text import feature_names

TESTED = 1000
"""Test examples among which an example has its percentile."""
_CHUNK = 1 << 22  # values of training examples that are compared at once
_MAX_NEAREST = 1000
_RATING = 0.6
"""Share of the work that computes log p of test examples; the rest searches the training examples."""


def sample(run: str | os.PathLike[str] | OpenedRun, origin: Origin, *, seed: int | None = None) -> SampleDetails:
    """Return the figures of one example under every flow, and the nearest training example.

    Parameters
    ----------
    run, origin, seed
        As in `layers`. With a sample of no certain flow, each flow has its own, and the nearest training example is
        that of the student's, or of the last flow there is.

    Raises
    ------
    RunError
        When the run cannot be read, or has no such example.
    """
    opened = open_run(run, seed)
    examples = examples_of(opened, origin)
    reference = _reference(opened, origin, examples)
    of_reference = examples[reference]
    noise = _noise(opened.flows[reference], of_reference)
    figures: dict[Role, SampleFigures] = {}
    for role, flow in opened.flows.items():
        if role in examples:
            work = opened.work.part(0, _RATING).part(len(figures) / len(examples), (len(figures) + 1) / len(examples))
            tested = opened.split_log_prob(role, "test", TESTED, work) if can_rate(flow) else np.empty(0)
            figures[role] = _figures(opened, flow, examples[role], noise, of_reference, tested)
    finite = bool(of_reference.x.isfinite().all())
    index, distance = _nearest(opened, of_reference, 1, opened.work.part(_RATING, 1))
    nearest = opened.dataset.train.take(index)
    return SampleDetails(
        run=opened.run,
        seed=opened.seed,
        origin=origin,
        example=opened.dataset.to_picture(of_reference.x)[0],
        reference=reference,
        flows=figures,
        nearest=opened.dataset.to_picture(torch.from_numpy(_scaled(opened, nearest)))[0],
        nearest_index=int(index[0]) if finite else -1,
        distance=float(distance[0]),
        label=None if nearest.labels is None or not finite else int(nearest.labels[0]),
        columns=[] if opened.dataset.is_image else feature_names(opened.dataset.event_shape[0], opened.dataset.columns),
        values=None if opened.dataset.is_image else _in_units(opened, of_reference, nearest),
    )


def nearest(
    run: str | os.PathLike[str] | OpenedRun, origin: Origin, *, seed: int | None = None, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the nearest training examples and their distances, nearest first, each (count,).

    The distance is Euclidean, of scaled values; images are compared at the middles of their levels.

    Parameters
    ----------
    run, origin, seed
        As in `sample`.
    count
        Number of training examples.

    Raises
    ------
    RunError
        As `sample`; also for more than 1,000.
    """
    opened = open_run(run, seed)
    check_count("training examples", count, min(_MAX_NEAREST, len(opened.dataset.train)))
    examples = examples_of(opened, origin)
    example = examples[_reference(opened, origin, examples)]
    if not bool(example.x.isfinite().all()):
        title = "There is no nearest example"
        raise RunError(title, "The example is not finite.", "Choose another one.")
    return _nearest(opened, example, count, opened.work)


def can_rate(flow: Flow) -> bool:
    """Whether a flow has log-densities."""
    return "log_prob" not in flow.unsupported


def _reference(opened: OpenedRun, origin: Origin, examples: dict[Role, Batch]) -> Role:
    """Return the flow whose noise an example is compared by."""
    roles: list[Role] = [role for role in opened.flows if role in examples]
    if not roles:
        title = "No flow can sample"
        raise RunError(title, "Its library cannot decode.", "Choose an example of the data.")
    if origin.role in roles:
        return origin.role
    return "student" if "student" in roles else roles[-1]


@torch.no_grad()
def _noise(flow: Flow, example: Batch) -> list[torch.Tensor] | None:
    return None if "latents" in flow.unsupported else flow.noise_of(example.x, example.context)


@torch.no_grad()
def _figures(
    opened: OpenedRun,
    flow: Flow,
    example: Batch,
    noise: list[torch.Tensor] | None,
    reference: Batch,
    tested: np.ndarray,
) -> SampleFigures:
    value = float(log_prob(flow, example.x, example.context)[0]) if can_rate(flow) else math.nan
    own = _noise(flow, example)
    same = noise is not None and can_sample(flow) and [tuple(part.shape[1:]) for part in noise] == flow.latent_shapes
    counterpart = flow.synthesize(noise or [], context=reference.context) if same else example.x * math.nan
    return SampleFigures(
        log_prob=value,
        percentile=float(100 * np.mean(tested < value)) if len(tested) and math.isfinite(value) else math.nan,
        tested=len(tested),
        latent_norm=math.nan if own is None else float(torch.cat([part.flatten() for part in own]).norm()),
        expected_norm=math.sqrt(math.prod(opened.dataset.event_shape)),
        counterpart=_shown(opened.dataset, counterpart) if same else np.empty(0),
    )


def _shown(dataset: Dataset, x: torch.Tensor) -> np.ndarray:
    """Return an example as a picture, or as a row in the units of the data."""
    return dataset.to_picture(x)[0] if dataset.is_image else dataset.units.to_data(x.cpu())[0].double().numpy()


def _nearest(opened: OpenedRun, example: Batch, count: int, work: Work) -> tuple[np.ndarray, np.ndarray]:
    train, x = opened.dataset.train, example.x[0].double().cpu().numpy().ravel()
    rows, parts = max(1, _CHUNK // x.size), list[np.ndarray]()
    for chunk in work.batches(len(train), rows):
        values = _scaled(opened, train.take(chunk)).reshape(-1, x.size)
        parts.append(np.linalg.norm(values - x, axis=1))
    distances = np.concatenate(parts)
    order = np.argsort(distances, kind="stable")[:count]
    return order, distances[order]


def _in_units(opened: OpenedRun, example: Batch, nearest: DataSplit) -> np.ndarray:
    """Return an example and the nearest training example in the units of the data, (2, features) float64."""
    rows = torch.cat([example.x.cpu(), torch.from_numpy(_scaled(opened, nearest))])
    return opened.dataset.units.to_data(rows).double().numpy()


def _scaled(opened: OpenedRun, split: DataSplit) -> np.ndarray:
    """Return examples as flows see them, images at the middles of their levels: float32."""
    return opened.dataset.scaled(np.asarray(split.values[:]))
