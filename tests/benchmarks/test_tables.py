"""Times of reading a table, as ratios to that of polars alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nfkd.config.tables import TableConfig
from nfkd.data import DataError, load_dataset
from nfkd.data.files import ConfigPath
from nfkd.data.tables import read_table

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]
_TRIES = 5


def seconds(action: Callable[[], object]) -> float:
    """Return the shortest time of several tries."""
    best = float("inf")
    for _ in range(_TRIES):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def test_time_of_a_long_table(tmp_path: Path) -> None:
    path, columns = tmp_path / "t.csv", [f"c{index}" for index in range(20)]
    values = np.random.default_rng(0).normal(size=(1_000_000, 20))
    pl.DataFrame(dict(zip(columns, values.T, strict=True))).write_csv(path, float_precision=6)
    file, config = ConfigPath(path, "data.path"), TableConfig(path=str(path))
    alone = seconds(lambda: pl.read_csv(path))
    read = seconds(lambda: read_table(file, config).rows(range(20)))
    start = time.perf_counter()
    load_dataset(config)
    loaded = time.perf_counter() - start
    print(f"\n10⁶ × 20: polars {alone:.2f} s; as one array {read:.2f} s, ratio {read / alone:.2f} (goal 1.3)")
    print(f"with checks, split, scaling and fingerprint {loaded:.2f} s, ratio {loaded / alone:.2f}")


@pytest.mark.parametrize("width", [65_000, 100_000])
def test_time_of_a_wide_table(tmp_path: Path, width: int) -> None:
    path = tmp_path / "t.csv"
    rows = np.random.default_rng(0).integers(0, 1000, (60, width)).astype(str).tolist()
    path.write_text("\n".join(",".join(row) for row in [[f"column{index}" for index in range(width)], *rows]))
    start = time.perf_counter()
    try:
        read_table(ConfigPath(path, "data.path"))
        result = "read"
    except DataError as error:
        result = f"refused: {error.problems[0].message.partition(': ')[2]}"
    print(f"\n{width:,} columns: {result} in {time.perf_counter() - start:.1f} s (goal 5 s)")
