"""The HDF5 file of a seed: read by plain h5py, killed, cut, full disks, and files that want to lead elsewhere."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nfkd
from nfkd.protocol import events
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from nfkd.runs.writer import RunWriter
from tests.core.tiny import moons

CURVES = [events.CurveInfo(name=name, label=name, unit="nats") for name in ("train/total", "validation/nll")]
PAIRS = [events.LayerPair(student="step1", teacher="step2", words="student step 1 ↔ teacher step 2")]


def opened(path: Path, mode: str = "r", **rest: Any) -> Any:
    """Open a file by plain h5py, whose own types cannot say what a path leads to."""
    return h5py.File(path, mode, **rest)  # type: ignore[arg-type]


def started(run: str = "run") -> events.SeedStarted:
    stages = [
        events.StagePlan(stage=stage, steps=20, curves=CURVES, pairs=PAIRS if stage == "student" else [])
        for stage in ("teacher", "student", "baseline")
    ]
    return events.SeedStarted(run=run, seed=1, stages=stages, event_shape=[2])


def points(stage: events.Role, first: int, count: int, name: str = "train/total") -> events.CurvePoints:
    steps = np.arange(first, first + count)
    batch = events.CurveBatch(steps=steps, values=steps / 7, times=steps / 10)
    return events.CurvePoints(run="run", seed=1, stage=stage, curves={name: batch})


def writer_in(directory: Path) -> RunWriter:
    return RunWriter(directory, moons().to_toml(), 1, started(), device="cpu", threads=1)


def test_others_read_it_while_it_is_written(tmp_path: Path) -> None:
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
    said = subprocess.run([sys.executable, "-c", reader, path], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["70", "10.0", "1", "NXdata"]
    writer.handle(points("teacher", 71, 30))
    writer.flush()
    said = subprocess.run([sys.executable, "-c", reader, path], capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == "100"
    writer.close()


def test_everything_that_is_told_is_in_the_file(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(8, 2)).astype(np.float32)
    images = rng.normal(size=(2, 3, 2)).astype(np.float32)
    log_prob = rng.normal(size=(96, 96)).astype(np.float32)
    summary = events.StageSummary(
        stage="student", seed=1, parameters=10, multiply_adds=20, steps=30, best_step=25, validation=1.5, test=1.6,
        test_error=0.1, unit="nats", samples_per_second=1e5, seconds=2.5, c2st=0.6,
    )  # fmt: skip
    common: dict[str, Any] = {"run": "run", "seed": 1, "stage": "student", "step": 10}
    told = [
        events.SamplesDrawn(**common, temperature=0.7, samples=samples),
        events.InterpolationDrawn(**common, mode="spherical", alpha=np.linspace(0, 1, 3), images=images),
        events.DensityDrawn(**common, extent=(-1.0, 2.0, -3.0, 4.0), log_prob=log_prob),
        events.MatchingMeasured(run="run", seed=1, step=10, error=np.array([0.25])),
        events.StageFinished(run="run", seed=1, stage="student", summary=summary),
        events.LogLine(run="run", level="info", text="not for the file", time=0.0),
    ]
    for event in told:
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
        assert np.isnan(file["summary/teacher/test"][0])
        assert nfkd.ExperimentConfig.from_toml(file.attrs["config"].decode()) == moons()


def test_what_was_not_declared_is_refused(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    with pytest.raises(RunError, match="train/lkd was not declared"):
        writer.handle(points("teacher", 1, 1, name="train/lkd"))
    writer.close()


WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from typing import Any
sys.path.insert(0, sys.argv[3])
from tests.core.runs.test_files import points, writer_in
writer = writer_in(Path(sys.argv[1]))
flushed = int(sys.argv[2])
for first in range(1, flushed, 50):
    writer.handle(points("teacher", first, 50))
writer.flush()
print("flushed", flush=True)
writer.handle(points("teacher", flushed + 1, 50))
writer.handle(points("student", 1, 3))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("flushed", [0, 50, 5000])
def test_a_killed_writer_loses_nothing_that_was_flushed(flushed: int, tmp_path: Path) -> None:
    from nfkd.runs.recovery import copy_cut

    root = str(Path(__file__).parents[3])
    arguments = [sys.executable, "-c", WRITE_AND_DIE, str(tmp_path), str(flushed), root]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    copy_cut(tmp_path / "run.h5", tmp_path / "run.h5", None)
    with opened(tmp_path / "run.h5") as file:  # a plain open works again
        curve = file["teacher/curves/train/total"]
        assert len(curve["step"]) >= flushed
        np.testing.assert_array_equal(curve["step"][:flushed], np.arange(1, flushed + 1))
        np.testing.assert_allclose(curve["value"][:flushed], np.arange(1, flushed + 1) / 7)
        assert len(curve["step"]) == len(curve["value"]) == len(curve["time"])


def test_reopening_cuts_every_stage_at_its_step_and_goes_on(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    for stage in ("teacher", "student", "baseline"):
        writer.handle(points(stage, 1, 20))
    for step in (5, 10, 15):
        writer.handle(events.MatchingMeasured(run="run", seed=1, step=step, error=np.array([step / 1.0])))
    writer.close()
    writer = RunWriter.reopen(tmp_path, {"teacher": 20, "student": 12})
    writer.handle(points("student", 13, 3))
    writer.close()
    with opened(tmp_path / "run.h5") as file:
        steps = {stage: file[f"{stage}/curves/train/total/step"][...].tolist() for stage in ("teacher", "student", "baseline")}
        assert steps == {"teacher": list(range(1, 21)), "student": list(range(1, 16)), "baseline": []}
        assert file["student/matching/step"][...].tolist() == [5, 10]


FULL = """
import resource, signal, sys
from pathlib import Path
from typing import Any
sys.path.insert(0, sys.argv[2])
from tests.core.runs.test_files import points, writer_in
from nfkd.runs.errors import RunError
writer = writer_in(Path(sys.argv[1]))
writer.handle(points("teacher", 1, 1000))
writer.flush()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (Path(sys.argv[1]) / "run.h5").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    for first in range(1001, 400000, 1000):
        writer.handle(points("teacher", first, 1000))
        writer.flush()
except RunError as error:
    print(error)
writer.close()
"""


def test_a_disk_that_takes_no_more_is_told_and_the_file_stays_readable(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), root], capture_output=True, text=True, check=False)
    assert "what was written stays readable" in done.stdout, done.stderr
    with opened(tmp_path / "run.h5", "r", libver="latest", swmr=True) as file:
        np.testing.assert_array_equal(file["teacher/curves/train/total/step"][:1000], np.arange(1, 1001))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="The run cannot be written") as refused:
        writer_in(tmp_path / "file")
    assert str(tmp_path / "file") in refused.value.cause


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    nfkd.run(moons(training={"teacher_steps": 10, "student_steps": 10}), path)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def link_out(file: h5py.File) -> None:
    file["teacher/more"] = h5py.ExternalLink("/etc/passwd", "/")


def link_soft(file: h5py.File) -> None:
    file["teacher/more"] = h5py.SoftLink("/student")


def keep_outside(file: h5py.File) -> None:
    file.create_dataset("teacher/more", (4,), "f8", external=[("/tmp/elsewhere.bin", 0, 32)])


def be_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    file.create_virtual_dataset("teacher/more", layout)


@pytest.mark.parametrize("spoil", [link_out, link_soft, keep_outside, be_virtual])
def test_ways_out_of_the_file_are_refused(spoil: Callable[[h5py.File], None], run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        spoil(file)
    for use in (open_run, recover):
        with pytest.raises(RunError, match="The run was refused") as refused:
            use(run)
        assert "/teacher/more" in refused.value.cause


def test_a_newer_format_and_foreign_files_are_refused_in_words(run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(RunError, match="newer than the program"):
        open_run(run)
    with h5py.File(run / "run.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RunError, match="not written by NFKD"):
        open_run(run)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_one_clear_error_or_none(data: st.DataObject, finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "damaged"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(finished, target)
    path = target / data.draw(st.sampled_from(["run.h5", "state.json", "experiment.toml", "verdict.json", "log.jsonl"]))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))
    path.write_bytes(content)
    try:
        open_run(target).snapshot()
    except RunError as error:
        assert error.title
        assert str(target) in error.cause or str(target) in str(error)
