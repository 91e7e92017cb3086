"""CSV files of the numbers that a panel shows. No widgets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from nfkd.protocol.events import DensityDrawn
from nfkd.protocol.records import LayerPair
from nfkd.text import csv_text
from nfkd_gui.model.export_files import exporting


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table.

    Raises
    ------
    ExportError
        When the file cannot be written; an existing file stays as it is.
    """
    text = csv_text(header, rows)
    with exporting(path) as temporary:
        temporary.write_bytes(text.encode())


def write_samples_csv(path: Path, samples: Mapping[str, np.ndarray], names: Sequence[str] = ()) -> None:
    """Write the samples of several flows, one in a row: the flow, the sample's number, and its values.

    Parameters
    ----------
    path
        Replaced if it exists.
    samples
        By flow, of one event shape: (n, features) with `names`, or (n, channels, height, width).
    names
        Names of the features, if they have any.

    Raises
    ------
    ExportError
        As `write_csv`.
    """
    shape = next((array.shape[1:] for array in samples.values()), ())
    header = ["flow", "sample", *_value_names(shape, names)]
    write_csv(path, header, _rows_of(samples))


def _value_names(shape: tuple[int, ...], names: Sequence[str]) -> list[str]:
    if len(shape) == 1:
        return list(names) or [f"x{number}" for number in range(1, shape[0] + 1)]
    ranges = [range(1, size + 1) for size in shape]
    return [f"channel {channel}, row {row}, column {column}" for channel, row, column in product(*ranges)]


def _rows_of(samples: Mapping[str, np.ndarray]) -> Iterator[list[Any]]:
    for flow, array in samples.items():
        for number, sample in enumerate(array.reshape(len(array), -1), start=1):
            yield [flow, number, *sample]


def write_paths_csv(path: Path, alpha: np.ndarray, paths: Mapping[str, np.ndarray], names: Sequence[str] = ()) -> None:
    """Write the interpolations of several flows: the flow, the position alpha on the path, and the values there.

    Parameters
    ----------
    path, names
        As in `write_samples_csv`.
    alpha
        (steps,) from 0 to 1.
    paths
        By flow: (steps, features) or (steps, channels, height, width).

    Raises
    ------
    ExportError
        As `write_csv`.
    """
    shape = next((array.shape[1:] for array in paths.values()), ())
    header = ["flow", "alpha", *_value_names(shape, names)]
    rows = ([flow, alpha[step - 1], *values] for flow, step, *values in _rows_of(paths))
    write_csv(path, header, rows)


def write_densities_csv(path: Path, densities: Mapping[str, DensityDrawn]) -> None:
    """Write log p on the grid: the flow, x, y and log p in nats.

    Raises
    ------
    ExportError
        As `write_csv`.
    """

    def rows() -> Iterator[list[object]]:
        for flow, density in densities.items():
            x0, x1, y0, y1 = density.extent
            down, across = density.log_prob.shape
            for y, row in zip(np.linspace(y0, y1, down), density.log_prob, strict=True):
                for x, log_prob in zip(np.linspace(x0, x1, across), row, strict=True):
                    yield [flow, x, y, log_prob]

    write_csv(path, ("flow", "x", "y", "log p (nats)"), rows())


def write_matching_csv(path: Path, pairs: Sequence[LayerPair], steps: Sequence[int], errors: np.ndarray) -> None:
    """Write matching errors, (steps, pairs): the step, both layers, the weight of the pair, and its error.

    Raises
    ------
    ExportError
        As `write_csv`.
    """
    rows = (
        [step, pair.student, pair.teacher, pair.weight, error]
        for step, row in zip(steps, errors, strict=True)
        for pair, error in zip(pairs, row, strict=True)
    )
    write_csv(path, ("step", "student layer", "teacher layer", "weight", "mean squared error"), rows)
