"""The HDF5 file of a seed: its content, concurrent reading, and reopening."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

import nfkd
from nfkd.protocol import events
from nfkd.protocol.roles import Role
from nfkd.runs import schema
from nfkd.runs.errors import RunError
from nfkd.runs.writer import RunWriter
from tests.core.runs.written import opened, points, started, writer_in
from tests.core.tiny import moons


def summary_of(stage: Role, **changes: float) -> events.StageSummary:
    values: dict[str, Any] = {"validation": 1.5, "test": 1.6, "test_error": 0.1, "c2st": 0.6} | changes
    counts = {"parameters": 10, "multiply_adds": 20, "steps": 30, "best_step": 25}
    return events.StageSummary(
        stage=stage, seed=1, unit="nats", samples_per_second=1e5, seconds=2.5, **counts, **values
    )


def test_another_process_reads_the_file_during_writing(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    reader = """
import sys, h5py
with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as file:
    curve = file["teacher/curves/train/total"]
    print(len(curve["step"]), curve["value"][-1], file.attrs["seed"], curve.attrs["NX_class"].decode())
"""
    writer.handle(points("teacher", 1, 70))
    writer.flush()
    path = str(tmp_path / "run.h5")
    done = subprocess.run([sys.executable, "-c", reader, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["70", "10.0", "1", "NXdata"]
    writer.handle(points("teacher", 71, 30))
    writer.flush()
    done = subprocess.run([sys.executable, "-c", reader, path], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "100"
    writer.close()


def test_a_reader_that_locks_the_file_does_not_fail_its_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer_in(tmp_path).close()
    monkeypatch.setattr("nfkd.runs.writer.copy_cut", lambda *_arguments: None)  # keeps the locked file
    with (tmp_path / "run.h5").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as HDF5 does while it reads a file
        writer = RunWriter.reopen(tmp_path, {})
        writer.handle(points("teacher", 1, 70))
        writer.close()
    with opened(tmp_path / "run.h5") as file:
        assert len(file["teacher/curves/train/total/step"]) == 70


def test_every_event_is_in_the_file(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(8, 2)).astype(np.float32)
    images = rng.normal(size=(2, 3, 2)).astype(np.float32)
    log_prob = rng.normal(size=(96, 96)).astype(np.float32)
    summary = summary_of("student", sw=0.04)
    common: dict[str, Any] = {"run": "run", "seed": 1, "stage": "student", "step": 10}
    sent = [
        events.SamplesDrawn(**common, temperature=0.7, samples=samples),
        events.InterpolationDrawn(**common, mode="spherical", alpha=np.linspace(0, 1, 3), images=images),
        events.DensityDrawn(**common, extent=(-1.0, 2.0, -3.0, 4.0), log_prob=log_prob),
        events.MatchingMeasured(run="run", seed=1, stage="student", step=10, error=np.array([0.25])),
        events.StageFinished(run="run", seed=1, stage="student", summary=summary),
        events.LogLine(run="run", level="info", text="not for the file", time=0.0),
    ]
    for event in sent:
        writer.handle(event)
    writer.close()
    with opened(tmp_path / "run.h5") as file:
        np.testing.assert_array_equal(file["student/samples/images"][0], samples)
        assert file["student/samples/temperature"][0] == 0.7
        np.testing.assert_array_equal(file["student/interpolation/images"][0], images)
        assert file["student/interpolation/mode"][0] == b"spherical"
        np.testing.assert_array_equal(file["student/density/log_prob"][0], log_prob)
        np.testing.assert_array_equal(file["student/density/extent"][...], [-1, 2, -3, 4])
        np.testing.assert_array_equal(file["student/matching/error"][...], [[0.25]])
        assert file["summary/student/test"][0] == 1.6
        assert file["summary/student/sw"][0] == 0.04
        assert np.isnan(file["summary/student/same_noise"][0])
        assert np.isnan(file["summary/teacher/test"][0])
        assert nfkd.ExperimentConfig.from_toml(file.attrs["config"].decode()) == moons()


ADDED = ("sw", "mmd", "precision", "recall", "train_test_gap", "same_noise", "fd")
"""Numbers that files of older versions lack; they also lack ``ended``."""


def test_a_file_of_an_older_version_lacks_figures_until_it_is_reopened(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    writer.handle(events.StageFinished(run="run", seed=1, stage="teacher", summary=summary_of("teacher", sw=0.05)))
    writer.close()
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        for stage in ("teacher", "student", "baseline"):
            for name in (*ADDED, "ended"):
                del file[f"summary/{stage}/{name}"]
    with opened(tmp_path / "run.h5") as file:
        read = schema.read_summary(file, "teacher", 1, "nats")
    assert read is not None
    assert read.test == 1.6
    assert np.isnan([getattr(read, name) for name in ADDED]).all()
    assert read.ended == ""
    writer = RunWriter.reopen(tmp_path, {"teacher": None, "student": 0})
    writer.handle(events.StageFinished(run="run", seed=1, stage="student", summary=summary_of("student", sw=0.04)))
    writer.close()
    with opened(tmp_path / "run.h5") as file:
        assert np.isnan(file["summary/teacher/sw"][0])
        assert file["summary/student/sw"][0] == 0.04


def test_noise_floors_are_stored(tmp_path: Path) -> None:
    info = events.FeatureInfo(accuracy=0.98, sha256="5f" * 32)
    begun = msgspec.structs.replace(started(), compared=40, floors={"sw": 0.02, "recall": 0.9}, features=info)
    RunWriter(tmp_path, moons(), begun, device="cpu", threads=1).close()
    with opened(tmp_path / "run.h5") as file:
        assert {name: float(node[0]) for name, node in file["summary/floor"].items()} == begun.floors
        read = schema.read_started(file)
    assert (read.compared, read.floors) == (begun.compared, begun.floors)
    assert read.features is not None
    assert (read.features.accuracy, read.features.sha256) == (info.accuracy, info.sha256)


def test_a_curve_that_is_not_in_the_plan_is_refused(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    with pytest.raises(RunError, match="train/lkd is not in the plan"):
        writer.handle(points("teacher", 1, 1, name="train/lkd"))
    writer.close()


def test_reopening_cuts_every_stage_at_its_step_and_continues(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    for stage in ("teacher", "student", "baseline"):
        writer.handle(points(stage, 1, 20))
    for step in (5, 10, 15):
        writer.handle(
            events.MatchingMeasured(run="run", seed=1, stage="student", step=step, error=np.array([step / 1.0]))
        )
    writer.close()
    writer = RunWriter.reopen(tmp_path, {"teacher": 20, "student": 12})
    writer.handle(points("student", 13, 3))
    writer.close()
    with opened(tmp_path / "run.h5") as file:
        steps = {
            stage: file[f"{stage}/curves/train/total/step"][...].tolist()
            for stage in ("teacher", "student", "baseline")
        }
        assert steps == {"teacher": list(range(1, 21)), "student": list(range(1, 16)), "baseline": []}
        assert file["student/matching/step"][...].tolist() == [5, 10]
