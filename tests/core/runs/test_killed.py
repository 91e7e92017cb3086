"""Killed writers and full disks: flushed data is never lost, and readers see no wrong data."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

from nfkd.protocol.events import CurveBatch, CurvePoints
from nfkd.runs.errors import RunError, system_error
from nfkd.runs.layout import create_run_at
from nfkd.runs.lock import run_lock
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from nfkd.runs.state import read_row, write_row
from nfkd.runs.writer import RunWriter
from tests.core.runs.children import RunChild, child_processes
from tests.core.runs.written import opened, points, writer_in
from tests.core.tiny import moons

CURVE = "teacher/curves/train/total"


@pytest.fixture(scope="module")
def run_child() -> Iterator[RunChild]:
    with child_processes() as run:
        yield run


def new_run(path: Path) -> Path:
    return create_run_at(path, moons(), teacher="", student="")


WRITE_AND_DIE = """
import os, signal
from pathlib import Path
from nfkd.runs.state import read_row, write_row
from tests.core.runs.written import points, writer_in
import msgspec
run, flushed, late = Path(arguments[0]), *arguments[1:]
write_row(run, msgspec.structs.replace(read_row(run), state="running"))
writer = writer_in(run)
for first in range(1, flushed, 50):
    writer.handle(points("teacher", first, 50))
writer.flush()
for first in range(flushed + 1, flushed + late, 50):
    writer.handle(points("teacher", first, 50))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("flushed", "late"), [(0, 0), (0, 50), (50, 0), (1000, 100), (5000, 9000)])
def test_a_killed_writer_loses_nothing_that_was_flushed(
    flushed: int, late: int, run_child: RunChild, tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run")
    ended = run_child(WRITE_AND_DIE, run, flushed, late)
    assert ended.code == -signal.SIGKILL, ended.error
    assert read_row(run).state == "interrupted"
    with pytest.raises(OSError, match="already open for write"):
        opened(run / "run.h5")
    before = open_run(run).curves["teacher"]["train/total"]  # readable even before recovery
    assert "1 file recovered" in recover(run)
    recovered = (run / "run.h5").stat().st_ino
    assert "nothing had to be recovered" in recover(run)
    assert (run / "run.h5").stat().st_ino == recovered  # not copied again
    with opened(run / "run.h5") as file:  # now opens without SWMR
        steps, values, times = (file[CURVE][name][...] for name in ("step", "value", "time"))
        assert len(steps) >= flushed
        expected = np.arange(1, len(steps) + 1)
        np.testing.assert_array_equal(steps, expected)
        np.testing.assert_allclose(values, expected / 7)
        np.testing.assert_allclose(times, expected / 10)
        np.testing.assert_array_equal(before.steps, expected)
    writer = RunWriter.reopen(run, {"teacher": flushed})
    writer.handle(points("teacher", flushed + 1, 5))
    writer.close()
    with opened(run / "run.h5") as file:
        assert file[f"{CURVE}/step"][...].tolist() == list(range(1, flushed + 6))


DIE_DURING_CREATION = """
import os, signal
from pathlib import Path
from nfkd.runs import schema
from tests.core.runs.written import writer_in
create, left = schema._growable, arguments[1]
def die(*values, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return create(*values, **options)
schema._growable = die
writer_in(Path(arguments[0]))
"""


@pytest.mark.parametrize("left", [0, 7])
def test_a_file_appears_only_when_it_is_complete(left: int, run_child: RunChild, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    ended = run_child(DIE_DURING_CREATION, run, left)
    assert ended.code == -signal.SIGKILL, ended.error
    assert not (run / "run.h5").exists()
    assert open_run(run).curves == {}  # as if it had not begun
    writer_in(run).close()
    assert [len(curve.steps) for curve in open_run(run).curves["teacher"].values()] == [0, 0]


def test_rows_without_data_are_not_read(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    writer = writer_in(run)
    writer.handle(points("teacher", 1, 10))
    writer.handle(points("student", 1, 10))
    writer.close()
    with opened(run / "run.h5", "r+") as file:  # lengths without rows, as after a failed flush
        for name in ("step", "value", "time"):
            file[f"{CURVE}/{name}"].resize((5000,))
        values = file["student/curves/train/total/value"]
        values[6:] = values.fillvalue
    assert len(open_run(run).curves["teacher"]["train/total"].steps) == 10
    assert open_run(run).curves["student"]["train/total"].steps.tolist() == [1, 2, 3, 4, 5, 6]
    recover(run)
    with opened(run / "run.h5") as file:
        assert file[f"{CURVE}/step"][...].tolist() == list(range(1, 11))


def test_recorded_values_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    writer = writer_in(run)
    values = np.array([1.0, np.nan, np.inf, np.nan])
    batch = CurveBatch(steps=np.arange(4), values=values, times=np.arange(4.0))
    writer.handle(CurvePoints(run="run", seed=1, stage="teacher", curves={"train/total": batch}))
    writer.close()
    recover(run)
    np.testing.assert_array_equal(open_run(run).curves["teacher"]["train/total"].values, values)


FULL = """
import resource, signal, sys
from itertools import count
from pathlib import Path
from nfkd.runs.errors import RunError
from tests.core.runs.written import points, writer_in
run, room, flush = Path(arguments[0]), *arguments[1:]
writer = writer_in(run)
writer.handle(points("teacher", 1, 1000))
writer.flush()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (run / "run.h5").stat().st_size + room
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for again in range(2):
    try:
        for first in count(1001, 1000):
            writer.handle(points("teacher", first, 1000))
            if flush:
                writer.flush()
    except RunError as error:
        sys.stderr.write(f"{error}\\n")
writer.close()
writer.close()
"""


@pytest.mark.parametrize(("room", "flush"), [(0, True), (5000, True), (100_000, True), (1000, False)])
def test_a_full_disk_is_reported_and_the_file_stays_readable(
    room: int, flush: bool, run_child: RunChild, tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run")
    ended = run_child(FULL, run, room, flush)
    assert ended.code == 0, ended.error  # HDF5 by itself would end the process with a segmentation fault
    message = f"The run cannot be written: {run}: File too large."
    assert [line.startswith(message) for line in ended.error.splitlines()] == [True, True]
    assert "the saved data stays readable" in ended.error
    with opened(run / "run.h5", libver="latest", swmr=True) as file:
        np.testing.assert_array_equal(file[f"{CURVE}/step"][:1000], np.arange(1, 1001))
    curve = open_run(run).curves["teacher"]["train/total"]
    assert len(curve.steps) >= 1000
    np.testing.assert_array_equal(curve.steps, np.arange(1, len(curve.steps) + 1))
    np.testing.assert_allclose(curve.values, curve.steps / 7)
    recover(run)
    np.testing.assert_array_equal(open_run(run).curves["teacher"]["train/total"].steps, curve.steps)


NO_ROOM = """
import resource, signal, sys
from pathlib import Path
from nfkd.runs.errors import RunError
from nfkd.runs.recovery import recover
from nfkd.runs.writer import RunWriter
from tests.core.runs.written import writer_in
run, new, room = Path(arguments[0]), Path(arguments[1]), arguments[2]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
for make in (lambda: recover(run), lambda: RunWriter.reopen(run, {"teacher": 900}), lambda: writer_in(new)):
    try:
        make()
    except RunError as error:
        sys.stderr.write(f"{error.title}: {error.cause}\\n")
"""


def test_copies_without_room_leave_the_file_as_it_was(run_child: RunChild, tmp_path: Path) -> None:
    run, new = new_run(tmp_path / "run"), tmp_path / "new"
    new.mkdir()
    writer = writer_in(run)
    writer.handle(points("teacher", 1, 1000))
    writer.close()
    with opened(run / "run.h5", "r+") as file:
        file[f"{CURVE}/step"].resize((1001,))  # as after a kill, so that there is something to recover
    content, files = (run / "run.h5").read_bytes(), sorted(run.iterdir())
    for room in (0, 3000, 20_000):
        ended = run_child(NO_ROOM, run, new, room)
        assert ended.code == 0, ended.error
        messages = [f"The run cannot be written: {directory}: File too large." for directory in (run, run, new)]
        assert ended.error.splitlines() == messages
    assert (run / "run.h5").read_bytes() == content
    assert {path.name for path in run.iterdir()} - {path.name for path in files} <= {".lock"}
    assert list(new.iterdir()) == []


WEIGHTS_WITHOUT_ROOM = """
import resource, signal, sys
from pathlib import Path
import torch
from nfkd.runs.weights import save_weights
from nfkd.training.checkpoint import Checkpoint, Position, save_checkpoint
run = Path(arguments[0])
def write(size):
    save_weights(run / "teacher.safetensors", {"a": torch.zeros(size)}, "", {})
    save_checkpoint(run, Checkpoint(Position(stage="teacher"), {"a": torch.zeros(size)}))
write(10)
write(20)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for save in (lambda: save_weights(run / "teacher.safetensors", {"a": torch.zeros(9000)}, "", {}),
             lambda: save_checkpoint(run, Checkpoint(Position(stage=None), {"a": torch.zeros(9000)}))):
    try:
        save()
    except OSError as error:
        sys.stderr.write(f"{error.errno} {error.filename}\\n")
"""


def test_weights_without_room_leave_the_old_files_and_raise_the_systems_error(
    run_child: RunChild, tmp_path: Path
) -> None:
    ended = run_child(WEIGHTS_WITHOUT_ROOM, tmp_path)
    names = ["teacher.safetensors", "checkpoint.safetensors"]
    assert ended.error.splitlines() == [f"{errno.EFBIG} {tmp_path / name}" for name in names]
    assert {path.name for path in tmp_path.iterdir()} == {*names, "checkpoint.previous.safetensors"}
    sizes = [(tmp_path / name, 20) for name in names] + [(tmp_path / "checkpoint.previous.safetensors", 10)]
    for path, size in sizes:
        assert len(load_file(path)["a"]) == size
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()


def umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_the_errno_of_safetensors_errors_is_found_in_their_text() -> None:
    for text in ("I/O error: No space left on device (os error 28)", "Error while serializing: x (os error 28)"):
        assert system_error(SafetensorError(text), Path("w")).errno == errno.ENOSPC


@pytest.mark.parametrize("inside", ["a file", "/proc"])
def test_the_error_names_a_directory_that_cannot_be_written(inside: str, tmp_path: Path) -> None:
    directory = Path("/proc") if inside == "/proc" else tmp_path / "file"
    if inside == "a file":
        directory.write_text("")
    with pytest.raises(RunError, match="The run cannot be written") as refused:
        writer_in(directory)
    assert str(directory) in refused.value.cause


def test_an_active_run_is_not_recovered(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    writer = writer_in(run)
    with run_lock(run), pytest.raises(RunError, match="in use"):
        recover(run)
    writer.close()


def test_a_finished_run_stays_finished_after_recovery(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    write_row(run, msgspec.structs.replace(read_row(run), state="finished"))
    writer_in(run).close()
    recover(run)
    assert read_row(run).state == "finished"


FULL_AT_FIRST_FLUSH = """
import os, resource, signal
from pathlib import Path
import numpy as np
from nfkd.protocol.events import SamplesDrawn
from nfkd.runs.errors import RunError
from tests.core.runs.written import points, writer_in
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run, room = Path(arguments[0]), arguments[1]
writer = writer_in(run)
size = (run / "run.h5").stat().st_size + room
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
refused = False
try:
    for step in range(1, 8):
        fields = {"run": "run", "seed": 1, "stage": "teacher", "step": step}
        writer.handle(SamplesDrawn(**fields, temperature=1.0, samples=np.zeros((8, 2), np.float32)))
        writer.handle(points("teacher", 1000 * step, 1000))
    writer.flush()
except RunError:
    refused = True
writer.close()
os._exit(0 if refused else 3)
"""


def test_a_disk_that_is_full_at_the_first_flush_does_not_end_the_process(run_child: RunChild, tmp_path: Path) -> None:
    for room in range(0, 48_000, 1500):
        (tmp_path / str(room)).mkdir()
        assert run_child(FULL_AT_FIRST_FLUSH, tmp_path / str(room), room).code == 0, room
