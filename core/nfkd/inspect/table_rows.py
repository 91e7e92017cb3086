"""Rows of the data and samples of every flow in the units of the data, and tests of single columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
import torch

from nfkd.data import Dataset
from nfkd.evaluation.quality import c2st
from nfkd.inspect.opened import MAX_EXAMPLES, OpenedRun, open_run
from nfkd.inspect.origin import can_sample, check_count, draw_samples
from nfkd.protocol.inspection import MAX_COLUMNS_TESTED, ColumnTests, Origin, TableRows
from nfkd.protocol.roles import Role
from nfkd.runs.errors import RunError
from nfkd.text import feature_names

_MAX_COLUMNS, _MAX_VALUES = 1024, 1_000_000


def table(
    run: str | os.PathLike[str] | OpenedRun,
    *,
    seed: int | None = None,
    count: int = 2000,
    temperature: float = 1.0,
    noise_seed: int | None = None,
) -> TableRows:
    """Return test rows and samples of every flow in the units of the data, with a Kolmogorov-Smirnov test a column.

    Parameters
    ----------
    run, seed
        As in `layers`.
    count
        Most rows of each; random test rows, always the same. Fewer for wide tables: at most a million values.
    temperature, noise_seed
        Of the samples, as in `Origin`.

    Raises
    ------
    RunError
        When the run cannot be read, has images or more than 1,024 columns, or no flow can sample.
    """
    opened = open_run(run, seed)
    data, samples = _rows(opened, count, temperature, noise_seed)
    statistic, p = {}, {}
    for number, (role, rows) in enumerate(samples.items()):
        tests = []
        for column in range(data.shape[1]):
            opened.work.check((number + column / data.shape[1]) / len(samples))
            tests.append(_ks(data[:, column], rows[:, column]))
        statistic[role], p[role] = (np.array(values) for values in zip(*tests, strict=True))
    return TableRows(
        run=opened.run,
        seed=opened.seed,
        columns=feature_names(opened.dataset.event_shape[0], opened.dataset.columns),
        data=data,
        samples=samples,
        ks=statistic,
        ks_p=p,
        dropped={role: (~np.isfinite(rows)).sum(axis=0) for role, rows in samples.items()},
    )


def column_tests(
    run: str | os.PathLike[str] | OpenedRun,
    columns: Sequence[int],
    *,
    seed: int | None = None,
    count: int = 2000,
    temperature: float = 1.0,
    noise_seed: int | None = None,
) -> ColumnTests:
    """Return the classifier two-sample test (`nfkd.evaluation.quality.c2st`) of single columns for every flow.

    As in `table`, values of samples that are not finite are left out.

    Parameters
    ----------
    columns
        Indices of at most eight columns.
    run, seed, count, temperature, noise_seed
        As in `table`, for the same rows.

    Raises
    ------
    RunError
        As `table`; also for too many columns, or one that does not exist.
    """
    opened = open_run(run, seed)
    check_count("columns", len(columns), MAX_COLUMNS_TESTED)
    data, samples = _rows(opened, count, temperature, noise_seed)
    for column in columns:
        if not 0 <= column < data.shape[1]:
            cause = f"Column {column} was requested; there are {data.shape[1]}."
            title = "There is no such column"
            raise RunError(title, cause, f"Choose a number from 0 to {data.shape[1] - 1}.")
    found: dict[Role, np.ndarray] = {}
    for number, (role, rows) in enumerate(samples.items()):
        scores = []
        for position, column in enumerate(columns):
            opened.work.check((number + position / len(columns)) / len(samples))
            values = rows[:, column]
            scores.append(c2st(data[:, column], values[np.isfinite(values)]))
        found[role] = np.array(scores)
    return ColumnTests(run=opened.run, seed=opened.seed, columns=list(columns), c2st=found)


def _ks(data: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Return the statistic and the p value of finite values; NaN where there are none."""
    rows = rows[np.isfinite(rows)]
    if not len(rows):
        return float("nan"), float("nan")
    result: Any = scipy.stats.ks_2samp(data, rows, method="asymp")
    return float(result.statistic), float(result.pvalue)


def _rows(
    opened: OpenedRun, count: int, temperature: float, noise_seed: int | None
) -> tuple[np.ndarray, dict[Role, np.ndarray]]:
    dataset = opened.dataset
    check_count("rows", count, MAX_EXAMPLES)
    if dataset.is_image:
        title = "There is no table"
        raise RunError(title, f"The examples of {dataset.name} are images.", "Choose a run on a table.")
    features = dataset.event_shape[0]
    if features > _MAX_COLUMNS:
        cause = f"It has {features:,} columns; at most {_MAX_COLUMNS:,} can be compared."
        title = "The table is too wide"
        raise RunError(title, cause, "Train on fewer columns.")
    count = min(count, _MAX_VALUES // features)
    origin = Origin(kind="sample", count=count, temperature=temperature, noise_seed=noise_seed)
    samples: dict[Role, np.ndarray] = {}
    for role, flow in opened.flows.items():
        opened.work.check()
        if can_sample(flow):
            samples[role] = _in_units(dataset, draw_samples(opened, flow, origin).x)
    if not samples:
        title = "There are no samples"
        raise RunError(title, "No flow of the run can sample.", "Choose another run.")
    return _in_units(dataset, opened.data.subset("test").batch.x[:count]), samples


def _in_units(dataset: Dataset, x: torch.Tensor) -> np.ndarray:
    return dataset.units.to_data(x.cpu()).double().numpy()
