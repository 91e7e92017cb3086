"""Pictures of a table are in the units of its file: samples, paths and densities, live, stored and requested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.engine.explore import Explorer
from nfkd.protocol.events import SeedStarted
from nfkd.protocol.inspection import Origin
from nfkd.protocol.requests import Interpolate, Sample
from nfkd.protocol.roles import USUAL
from nfkd.runs.figures import export_figures
from nfkd.runs.reader import RunRecord, open_run
from nfkd.runs.schema import text
from tests.core.runs.written import opened
from tests.core.tiny import moons
from tests.core.training.runs import stop_run

ROWS, GRID = 400, 96
NAMES = ["energy [GeV]", "angle"]


def experiment(folder: Path, scaling: str) -> ExperimentConfig:
    """Return an experiment on two columns whose centres and widths differ by orders of magnitude."""
    first, second = np.random.default_rng(3).normal(size=(2, ROWS))
    rows = np.stack([5000 + 300 * first, -0.02 + 0.001 * (second + first)], axis=1)
    np.savetxt(folder / "rows.csv", rows, "%.9g", ",", header=",".join(NAMES), comments="")
    table = {"kind": "table", "path": str(folder / "rows.csv"), "scaling": scaling}
    return ExperimentConfig.from_dict(moons().model_dump(mode="json") | {"data": table})


def validation(record: RunRecord) -> np.ndarray:
    """Return the validation rows as they are in the file."""
    raw = np.loadtxt(record.config.data.path, delimiter=",", skiprows=1)  # type: ignore[union-attr]
    return raw[np.random.default_rng(0).permutation(ROWS)[:60]]


@pytest.fixture(scope="module", params=["standard", "robust", "quantile", "none"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp(request.param)
    return nfkd.run(experiment(folder, request.param), folder / "run")


def assert_rows(found: np.ndarray, rows: np.ndarray) -> None:
    """Compare columns by their own widths: 300 and 0.001."""
    np.testing.assert_allclose((found - rows) / rows.std(axis=0), np.zeros_like(rows), atol=2e-3)


def test_stored_pictures_are_in_the_units_of_the_file(run: RunRecord) -> None:
    rows = validation(run)
    with opened(run.path / "run.h5") as file:
        assert msgspec.json.decode(bytes(file.attrs["started"]), type=SeedStarted).columns == NAMES
        paths = file["student/final/interpolation/images"][0]
        samples = file["student/final/samples/images"][0]
    assert_rows(paths[:, 0], rows[[0, 2]])
    assert_rows(paths[:, -1], rows[[1, 3]])
    assert (abs(samples - rows.mean(axis=0)) < 6 * rows.std(axis=0)).all()


def test_requested_pictures_are_in_the_units_of_the_file(run: RunRecord) -> None:
    rows, path = validation(run), str(run.path)
    reply = Explorer().answer(Sample(run=path, seed=1, count=8, temperature=run.config.monitor.temperature))
    assert_rows(reply.real, rows[:8])
    for role in USUAL:
        np.testing.assert_allclose(reply.samples[role], run.samples[role], rtol=1e-5)  # of the same noise and weights
        assert reply.densities[role].extent == run.seeds[1].stages[role].density.extent  # type: ignore[union-attr]
    ends = Origin("validation", 4), Origin("validation", 9)
    walk = Explorer().answer(Interpolate(run=path, seed=1, first=ends[0], second=ends[1], mode="linear", steps=3))
    assert_rows(walk.paths["student"][[0, -1]], rows[[4, 9]])
    assert_rows(np.stack(walk.ends), rows[[4, 9]])


def test_densities_are_per_area_in_the_units_of_the_file(run: RunRecord) -> None:
    for role, load in (("teacher", run.load_teacher), ("student", run.load_student)):
        density = run.seeds[1].stages[role].density  # type: ignore[index]
        assert density is not None
        x0, x1, y0, y1 = density.extent
        width, height = (x1 - x0) / (GRID - 1), (y1 - y0) / (GRID - 1)
        if run.config.data.scaling == "quantile":  # type: ignore[union-attr]
            # All values come back within the range of the training rows, so the plane holds the whole mass.
            assert np.exp(density.log_prob.astype(float)).sum() * width * height == pytest.approx(1, abs=0.1)
            continue
        x, y = np.meshgrid(np.linspace(x0, x1, GRID), np.linspace(y0, y1, GRID))
        with torch.no_grad():
            expected = load().log_prob(torch.tensor(np.stack([x.ravel(), y.ravel()], axis=1)))
        np.testing.assert_allclose(density.log_prob.ravel(), expected.numpy(), rtol=1e-3, atol=2e-2)


def test_figures_have_the_names_of_the_columns_and_fill_their_room(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, save = list[Figure](), Figure.savefig

    def note(figure: Figure, *args: Any, **rest: Any) -> None:
        drawn.append(figure)
        save(figure, *args, **rest)

    monkeypatch.setattr(Figure, "savefig", note)
    export_figures(run, tmp_path)
    axes = [each for figure in drawn for each in figure.axes if each.get_xlabel() == NAMES[0]]
    assert len(axes) >= 3
    assert axes[0].get_ylabel() == NAMES[1]
    assert all(each.get_aspect() == "auto" for each in axes)


def as_older(run: Path) -> None:
    """Mark the columns of a run as those of a run whose pictures are scaled."""
    with opened(run / "run.h5", "r+") as file:
        started = msgspec.json.decode(bytes(file.attrs["started"]), type=SeedStarted)
        older = msgspec.structs.replace(started, columns=[f"{name} (scaled)" for name in NAMES])
        file.attrs["started"] = text(msgspec.json.encode(older).decode())


def test_an_older_run_keeps_its_scaled_pictures_when_it_is_resumed(tmp_path: Path) -> None:
    config = experiment(tmp_path, "standard")
    stop_run(tmp_path / "run", config, "student", 1)
    as_older(tmp_path / "run")
    seen: list[object] = []
    nfkd.run(config, tmp_path / "run", resume=True, on_event=seen.append)
    record = open_run(tmp_path / "run")
    raw = np.loadtxt(tmp_path / "rows.csv", delimiter=",", skiprows=1)[np.random.default_rng(0).permutation(ROWS)]
    scaled = (raw[:60] - raw[120:].mean(axis=0)) / raw[120:].std(axis=0)
    with opened(tmp_path / "run" / "run.h5") as file:
        paths = file["baseline/final/interpolation/images"][0]
    np.testing.assert_allclose(paths[:, 0], scaled[[0, 2]], atol=1e-3)
    [started] = [event for event in seen if isinstance(event, SeedStarted)]
    assert started.columns == [f"{name} (scaled)" for name in NAMES]
    reply = Explorer().answer(Sample(run=str(record.path), seed=1, count=8, temperature=1.0))
    np.testing.assert_allclose(reply.real, scaled[:8], atol=1e-3)
