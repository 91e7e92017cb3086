"""A run is resumed only if its data is unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.engine.core import Engine, Refused
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.runs.errors import RunError
from nfkd.runs.log import read_log
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from tests.core.tiny import moons
from tests.core.training.runs import assert_same

ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
CHECKPOINTS = ("checkpoint.safetensors", "checkpoint.previous.safetensors")


def write(path: Path, rows: np.ndarray, names: str = "a,b") -> None:
    np.savetxt(path, rows, delimiter=",", header=names, comments="", fmt="%.9g")


def experiment(folder: Path) -> ExperimentConfig:
    steps = {"teacher_steps": 4, "student_steps": 4, "checkpoint_every": 2, "baseline": False}
    return moons(data={"kind": "table", "path": str(folder / "rows.csv")}, training=steps)


def stopped(config: ExperimentConfig, run: Path, *, resume: bool = False) -> Path:
    """Start or resume a run and stop it when its student starts."""
    control = Control()

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted) and event.stage == "student":
            control.stop("run")

    path = run if resume else prepare(config, run)
    assert execute_run(path, config, watch, control, resume=resume) == "stopped"
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data and a stopped run on it."""
    folder = tmp_path_factory.mktemp("data")
    write(folder / "rows.csv", ROWS)
    stopped(experiment(folder), folder / "stopped")
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of that run, with its data unchanged."""
    write(folder / "rows.csv", ROWS)
    return shutil.copytree(folder / "stopped", tmp_path / "run")


def kept(run: Path) -> dict[str, str]:
    """Return hashes of everything that must not change: all except state, log and lock."""
    files = [path for path in run.rglob("*") if path.suffix in {".h5", ".safetensors", ".toml"}]
    assert {path.suffix for path in files} == {".h5", ".safetensors", ".toml"}
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def without_checkpoints(run: Path) -> None:
    for name in CHECKPOINTS:
        (run / name).unlink(missing_ok=True)


def without_fingerprints(run: Path) -> None:
    """Remove the fingerprints, as in runs of older versions."""
    with h5py.File(run / "run.h5", "r+") as file:
        del file.attrs["data"]
    for name in CHECKPOINTS:
        with safe_open(run / name, framework="pt") as file:
            meta = file.metadata()
        position = msgspec.json.decode(meta["position"])
        del position["data"]
        tensors = load_file(run / name)
        save_file(tensors, run / name, meta | {"position": msgspec.json.encode(position).decode()})


def one_more(path: Path) -> None:
    write(path, np.vstack([ROWS, ROWS[:1]]))


def one_value(path: Path) -> None:
    rows = ROWS.copy()
    rows[-1, 1] += 1
    write(path, rows)


def more_columns(path: Path) -> None:
    write(path, np.hstack([ROWS, ROWS[:, :1] ** 2]), "a,b,c")


CHANGES = {
    "the data has 61 examples, the run was made with 60.": one_more,
    "the values differ.": one_value,
    "the columns differ: a, b, c instead of a, b; ": more_columns,
}


@pytest.mark.parametrize(("difference", "change"), CHANGES.items(), ids=["rows", "values", "columns"])
@pytest.mark.parametrize("prepared", [None, without_checkpoints], ids=["checkpoint", "run.h5 alone"])
def test_changed_data_is_refused_and_nothing_is_overwritten(
    difference: str, change: Callable[[Path], None], prepared: Callable[[Path], None] | None, folder: Path, run: Path
) -> None:
    if prepared is not None:
        prepared(run)
    before = kept(run)
    change(folder / "rows.csv")
    with pytest.raises(RunError, match="The run cannot be resumed") as refused:
        nfkd.run(experiment(folder), run, resume=True)
    start = f"{folder / 'rows.csv'} is not the data that the run was made with: {difference}"
    assert refused.value.cause.startswith(start)
    assert kept(run) == before


def test_with_the_first_data_again_the_run_is_resumed(
    folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, data = experiment(folder), folder / "rows.csv"
    arguments = ["run", str(run / "experiment.toml"), "--out", str(run), "--resume"]
    shutil.copy(data, tmp_path / "safe.csv")
    one_value(data)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nfkd: The run cannot be resumed: {data} is not the data")
    assert "Restore the original data" in error
    data.unlink()
    shutil.move(tmp_path / "safe.csv", data)  # another file with the same content
    os.utime(data, (1, 1))
    assert main(arguments) == 0
    nfkd.run(config, tmp_path / "whole")
    assert_same(run, tmp_path / "whole", config)


def test_the_engine_refuses_and_does_not_change_the_run(folder: Path, run: Path) -> None:
    before, state = kept(run), (run / "state.json").read_bytes()
    one_value(folder / "rows.csv")

    async def resume() -> None:
        engine = Engine()
        try:
            with pytest.raises(Refused) as refused:
                await engine.answer(ask.ResumeFromDisk(run=str(run)))
            assert refused.value.error.title == "The run cannot be resumed"
            assert "the values differ" in refused.value.error.cause
        finally:
            await engine.close()

    asyncio.run(resume())
    assert kept(run) == before
    assert (run / "state.json").read_bytes() == state
    write(folder / "rows.csv", ROWS)
    stopped(experiment(folder), run, resume=True)


def test_a_run_without_a_fingerprint_is_resumed_with_a_warning_and_gets_one(folder: Path, run: Path) -> None:
    without_fingerprints(run)
    stopped(experiment(folder), run, resume=True)
    [warning] = [line.text for line in read_log(run) if line.level == "warning" and "fingerprint" in line.text]
    assert "cannot check that the data is unchanged" in warning
    one_value(folder / "rows.csv")
    with pytest.raises(RunError, match="the values differ"):
        nfkd.run(experiment(folder), run, resume=True)


def test_missing_data_is_a_problem_of_the_experiment(folder: Path, run: Path) -> None:
    before = kept(run)
    (folder / "rows.csv").unlink()
    with pytest.raises(nfkd.ConfigError, match=r"data\.path"):
        nfkd.run(experiment(folder), run, resume=True)
    assert kept(run) == before


def test_data_is_compared_even_before_the_second_seed_starts(folder: Path, tmp_path: Path) -> None:
    write(folder / "rows.csv", ROWS)
    config = experiment(folder).replace(seeds={"count": 2})
    run = stopped(config, tmp_path / "run")
    assert not (run / "seed-2" / "run.h5").exists()
    one_more(folder / "rows.csv")
    with pytest.raises(RunError, match="61 examples"):
        nfkd.run(config, run, resume=True)
