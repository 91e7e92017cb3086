"""Finds the example that an `Origin` names: of a split, a sample, given values or a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from nfkd.config.datasets import IMAGE_ENDINGS
from nfkd.data import Batch, Dataset
from nfkd.data.files import ConfigPath, named_file
from nfkd.data.pictures import decode
from nfkd.data.tables import read_table
from nfkd.evaluation.likelihood import noisy
from nfkd.flows.flow import Flow
from nfkd.inspect.opened import OpenedRun
from nfkd.inspect.sampling import make_samples
from nfkd.protocol.inspection import Origin
from nfkd.protocol.roles import Role, role_name
from nfkd.runs.errors import RunError
from nfkd.runs.pictures import in_units_of_run
from nfkd.training.monitor import picture_generator

MAX_SAMPLES = 65_536
_CANDIDATES = 4096
"""Samples among which the most likely one is found."""


def examples_of(opened: OpenedRun, origin: Origin) -> dict[Role, Batch]:
    """Return the example for every flow, a batch of one on the run's device.

    Each flow has its own sample where `Origin.role` is None; otherwise all have the same example.

    Raises
    ------
    RunError
        When there is no such example, or it does not fit the data.
    DataError
        When a file cannot be read.
    """
    if origin.kind == "sample":
        if origin.role is None:
            return {role: _sample(opened, flow, origin) for role, flow in opened.flows.items() if can_sample(flow)}
        batch = _sample(opened, require_flow(opened, origin.role), origin)
    elif origin.kind == "likely":
        batch = _likely(opened, origin)
    elif origin.kind in ("values", "scaled"):
        batch = _given(opened, origin)
    elif origin.kind == "file":
        batch = _from_file(opened.dataset, origin).to(opened.data.device)
    else:
        batch = _of_split(opened, origin)
    return dict.fromkeys(opened.flows, batch)


def can_sample(flow: Flow) -> bool:
    """Whether a flow can sample."""
    return "synthesis" not in flow.unsupported


def require_flow(opened: OpenedRun, role: Role) -> Flow:
    """Return the flow of a role; raises `RunError` if it has no weights yet."""
    if (flow := opened.flows.get(role)) is not None:
        return flow
    title = f"There is no {role_name(role)} yet"
    raise RunError(title, "Its stage has not made its first step.", "Try again later.")


def noise_generator(seed: int, noise_seed: int | None) -> torch.Generator:
    """Return the generator of a request's noise: by its own seed, or that of the run's pictures."""
    return picture_generator(seed) if noise_seed is None else torch.Generator().manual_seed(noise_seed)


def draw_samples(opened: OpenedRun, flow: Flow, origin: Origin) -> Batch:
    """Return the samples that are drawn at once, with their contexts.

    Raises
    ------
    RunError
        When too many are requested.
    """
    check_count("samples", origin.count, MAX_SAMPLES)
    context = opened.data.examples.to(opened.data.device).contexts(origin.count)
    generator = noise_generator(opened.seed, origin.noise_seed)
    noise = flow.draw_noise(origin.count, generator)
    return Batch(make_samples(opened, flow, noise, origin.temperature, context, origin.options), context)


def check_count(what: str, number: int, most: int) -> None:
    """Refuse a number of examples that is too large; raises `RunError`."""
    if not 1 <= number <= most:
        cause = f"{number:,} {what} were requested."
        title = "The request is too large"
        raise RunError(title, cause, f"Request 1 to {most:,}.")


def check_index(index: int, count: int) -> None:
    """Refuse an index that does not exist; raises `RunError`."""
    if not 0 <= index < count:
        cause = f"Example {index} was requested; there are {count:,}."
        title = "There is no such example"
        raise RunError(title, cause, f"Choose a number from 0 to {count - 1}.")


@torch.no_grad()
def _sample(opened: OpenedRun, flow: Flow, origin: Origin) -> Batch:
    check_count("samples", origin.count, MAX_SAMPLES)
    check_index(origin.index, origin.count)
    opened.work.check()
    one = slice(origin.index, origin.index + 1)
    noise = [part[one] for part in flow.draw_noise(origin.count, noise_generator(opened.seed, origin.noise_seed))]
    contexts = opened.data.examples.to(opened.data.device).contexts(origin.count)
    context = None if contexts is None else contexts[one]
    return Batch(make_samples(opened, flow, noise, origin.temperature, context, origin.options), context)


def _likely(opened: OpenedRun, origin: Origin) -> Batch:
    """Return the sample with the highest log p under its flow."""
    role = origin.role or "teacher"
    flow = require_flow(opened, role)
    if not can_sample(flow):
        title = "There is no likely example"
        raise RunError(title, f"The {role_name(role)} cannot sample.", "Choose another flow.")
    batch = draw_samples(opened, flow, Origin(kind="sample", count=_CANDIDATES))
    return batch.take([int(np.nan_to_num(opened.log_prob(flow, batch), nan=-np.inf).argmax())])


def _of_split(opened: OpenedRun, origin: Origin) -> Batch:
    kind = origin.kind
    if kind not in ("train", "validation", "test"):
        msg = f"not a split: {kind}"
        raise ValueError(msg)
    split = getattr(opened.dataset, kind)
    if kind == "validation":
        check_index(origin.index, len(opened.data.examples))
    check_index(origin.index, len(split))
    known = opened.data.subset(kind).example(origin.index)
    batch = known if known is not None else noisy(opened.dataset, split.take(np.array([origin.index])))
    return batch.to(opened.data.device)


def _given(opened: OpenedRun, origin: Origin) -> Batch:
    if origin.layer:
        return _inverted(opened, origin)
    shape = opened.dataset.event_shape
    if origin.values is None or origin.values.shape != shape:
        size = "nothing" if origin.values is None else "×".join(map(str, origin.values.shape))
        cause = f"An example has {'×'.join(map(str, shape))} values; {size} was given."
        title = "The example does not fit the data"
        raise RunError(title, cause, "Choose an example of this run.")
    x = torch.from_numpy(np.array(origin.values, np.float32))[None]
    if origin.kind == "values" and not opened.dataset.is_image:
        x = in_units_of_run(opened.dataset, Path(opened.run), opened.seed).picture_units.to_scaled(x).float()
    context = opened.data.examples.contexts(max(1, origin.count))
    rows = None if context is None else context[origin.index % len(context)][None]
    return Batch(x, rows).to(opened.data.device)


@torch.no_grad()
def _inverted(opened: OpenedRun, origin: Origin) -> Batch:
    """Return the example whose state after a layer of a flow is given."""
    role = origin.role or "teacher"
    flow = require_flow(opened, role)
    title = "The state cannot be mapped back"
    if flow.context_features:
        raise RunError(title, "The flows need a context, and a state has none.", "Choose an example or a sample.")
    if "synthesis" in flow.unsupported:
        raise RunError(title, f"The {role_name(role)} cannot be inverted.", "Choose another flow.")
    values = np.empty(0) if origin.values is None else origin.values
    state = torch.from_numpy(np.array(values, np.float32))[None].to(opened.data.device)
    try:
        return Batch(flow.invert_to(origin.layer, state))
    except ValueError as error:
        raise RunError(
            title, f"{str(error).capitalize()}.", "Choose a layer before the first split, and a state of its shape."
        ) from error


def _from_file(dataset: Dataset, origin: Origin) -> Batch:
    if dataset.context_features:
        cause = "The flows need a context with each example, and a file has none."
        title = "The file cannot be used"
        raise RunError(title, cause, "Choose an example or a sample.")
    file = named_file(os.fspath(origin.path), "file")
    values = _read_image(file, dataset) if dataset.is_image else _read_row(file, dataset, origin.index)
    return Batch(dataset.units.to_scaled(torch.from_numpy(values)).float())


def _read_image(file: ConfigPath, dataset: Dataset) -> np.ndarray:
    """Return an image in the size and the levels of the data, (1, channels, height, width)."""
    channels, height, width = dataset.event_shape
    if Path(file.path).suffix.lower() not in IMAGE_ENDINGS:
        file.refuse(f"is not an image: give one of {', '.join(IMAGE_ENDINGS)}")
    if height != width or channels not in (1, 3):
        file.refuse(f"cannot be used: the examples of {dataset.name} are not square images in grey or colour")
    image = decode(file, height, colour=channels == 3).astype(np.int64)
    return (image * (dataset.levels or 256) // 256)[None]


def _read_row(file: ConfigPath, dataset: Dataset, index: int) -> np.ndarray:
    """Return a row of a table in the units of the data, (1, features)."""
    table = read_table(file)
    names, features = [column.name for column in table.columns], dataset.event_shape[0]
    missing = [name for name in dataset.columns if name not in names]
    if dataset.columns and missing:
        file.refuse(f"has no column {missing[0]}: it needs the columns of {dataset.name}")
    if not dataset.columns and len(names) != features:
        file.refuse(f"has {len(names)} columns, and the examples of {dataset.name} have {features}")
    check_index(index, table.count)
    chosen = [names.index(name) for name in dataset.columns] or list(range(features))
    for position in chosen:
        if table.columns[position].problem:
            file.refuse(f"column {names[position]} {table.columns[position].problem}: give numbers")
    row = np.asarray(table.rows(chosen)[index : index + 1], np.float64)
    if not np.isfinite(row).all():
        file.refuse(f"row {index} has missing or infinite values: give a complete row")
    return row
