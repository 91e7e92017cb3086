"""Small runs to look into: points, images and a table with scaled columns."""

from __future__ import annotations

import numpy as np
import pytest

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.inspect import OpenedRun, open_run
from tests.core.tiny import digits, moons


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    path = tmp_path_factory.mktemp("inspect") / "points"
    nfkd.run(moons(training={"teacher_steps": 12, "student_steps": 8}), path)
    return open_run(path)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    path = tmp_path_factory.mktemp("inspect") / "images"
    nfkd.run(digits(training={"teacher_steps": 6, "student_steps": 4}), path)
    return open_run(path)


def rows() -> np.ndarray:
    """The values of the table: columns of very different sizes."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 3))
    return np.stack([1000 + 50 * base[:, 0], base[:, 1] * 1e-3, base[:, 0] + base[:, 2]], axis=1)


@pytest.fixture(scope="session")
def columns(tmp_path_factory: pytest.TempPathFactory) -> OpenedRun:
    folder = tmp_path_factory.mktemp("inspect")
    np.savetxt(folder / "rows.csv", rows(), "%.9g", ",", header="mass,width,angle", comments="")
    table = {"kind": "table", "path": str(folder / "rows.csv")}
    config = ExperimentConfig.from_dict(moons().model_dump(mode="json") | {"data": table})
    nfkd.run(config.replace(training={"teacher_steps": 6, "student_steps": 4}), folder / "run")
    return open_run(folder / "run")
