"""Writers that are killed, and disks that take no more: nothing that was flushed is lost, and nothing is made up."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

from nfkd.protocol.events import CurveBatch, CurvePoints
from nfkd.runs.errors import RunError, system_error
from nfkd.runs.layout import create_run_at, read_row, write_row
from nfkd.runs.lock import run_lock
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from nfkd.runs.writer import RunWriter
from tests.core.runs.written import opened, points, writer_in
from tests.core.tiny import moons

ROOT = Path(__file__).parents[3]
CURVE = "teacher/curves/train/total"


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


def new_run(path: Path) -> Path:
    return create_run_at(path, moons(), teacher="", student="")


WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from nfkd.runs.layout import read_row, write_row
from tests.core.runs.written import points, writer_in
import msgspec
run, flushed, late = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
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
def test_a_killed_writer_loses_nothing_that_was_flushed(flushed: int, late: int, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    done = python(WRITE_AND_DIE, run, flushed, late)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert read_row(run).state == "interrupted"
    with pytest.raises(OSError, match="already open for write"):
        opened(run / "run.h5")
    before = open_run(run).curves["teacher"]["train/total"]  # even before it is recovered
    assert "1 file recovered" in recover(run)
    whole = (run / "run.h5").stat().st_ino
    assert "nothing had to be recovered" in recover(run)
    assert (run / "run.h5").stat().st_ino == whole  # the very file
    with opened(run / "run.h5") as file:  # a plain open works again
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


DIE_WHILE_MAKING = """
import os, signal, sys
from pathlib import Path
from nfkd.runs import schema
from tests.core.runs.written import writer_in
make, left = schema._grown, int(sys.argv[2])
def die(*arguments, **rest):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(*arguments, **rest)
schema._grown = die
writer_in(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("left", [0, 7])
def test_a_file_is_there_only_when_it_is_whole(left: int, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    done = python(DIE_WHILE_MAKING, run, left)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (run / "run.h5").exists()
    assert open_run(run).curves == {}  # as if it had not begun
    writer_in(run).close()
    assert [len(curve.steps) for curve in open_run(run).curves["teacher"].values()] == [0, 0]


def test_rows_whose_data_has_not_come_are_not_read(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    writer = writer_in(run)
    writer.handle(points("teacher", 1, 10))
    writer.handle(points("student", 1, 10))
    writer.close()
    with opened(run / "run.h5", "r+") as file:  # lengths without their rows, as a refused flush leaves them
        for name in ("step", "value", "time"):
            file[f"{CURVE}/{name}"].resize((5000,))
        values = file["student/curves/train/total/value"]
        values[6:] = values.fillvalue
    assert len(open_run(run).curves["teacher"]["train/total"].steps) == 10
    assert open_run(run).curves["student"]["train/total"].steps.tolist() == [1, 2, 3, 4, 5, 6]
    recover(run)
    with opened(run / "run.h5") as file:
        assert file[f"{CURVE}/step"][...].tolist() == list(range(1, 11))


def test_a_figure_that_is_not_a_number_is_kept(tmp_path: Path) -> None:
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
from pathlib import Path
from nfkd.runs.errors import RunError
from tests.core.runs.written import points, writer_in
run, room, flush = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "flush"
writer = writer_in(run)
writer.handle(points("teacher", 1, 1000))
writer.flush()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (run / "run.h5").stat().st_size + room
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for again in range(2):
    try:
        for first in range(1001, 20_000_000, 1000):
            writer.handle(points("teacher", first, 1000))
            if flush:
                writer.flush()
    except RunError as error:
        sys.stderr.write(f"{error}\\n")
writer.close()
writer.close()
"""


@pytest.mark.parametrize(("room", "how"), [(0, "flush"), (5000, "flush"), (100_000, "flush"), (1000, "by the clock")])
def test_a_disk_that_takes_no_more_is_told_and_the_file_stays_readable(room: int, how: str, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    done = python(FULL, run, room, how)
    assert done.returncode == 0, done.stderr  # HDF5 left to itself ends the process with a segmentation fault
    words = f"The run cannot be written: {run}: File too large."
    assert [line.startswith(words) for line in done.stderr.splitlines()] == [True, True]
    assert "what was written stays readable" in done.stderr
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
run, new, room = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
for make in (lambda: recover(run), lambda: RunWriter.reopen(run, {"teacher": 900}), lambda: writer_in(new)):
    try:
        make()
    except RunError as error:
        sys.stderr.write(f"{error.title}: {error.cause}\\n")
"""


@pytest.mark.parametrize("room", [0, 3000, 20_000])
def test_copies_that_find_no_room_leave_the_file_as_it_was(room: int, tmp_path: Path) -> None:
    run, new = new_run(tmp_path / "run"), tmp_path / "new"
    new.mkdir()
    writer = writer_in(run)
    writer.handle(points("teacher", 1, 1000))
    writer.close()
    with opened(run / "run.h5", "r+") as file:
        file[f"{CURVE}/step"].resize((1001,))  # as a killed writer leaves it: there is something to recover
    content, files = (run / "run.h5").read_bytes(), sorted(run.iterdir())
    done = python(NO_ROOM, run, new, room)
    assert done.returncode == 0, done.stderr
    told = [f"The run cannot be written: {directory}: File too large." for directory in (run, run, new)]
    assert done.stderr.splitlines() == told
    assert (run / "run.h5").read_bytes() == content
    assert {path.name for path in run.iterdir()} - {path.name for path in files} <= {".lock"}
    assert list(new.iterdir()) == []


WEIGHTS_WITHOUT_ROOM = """
import resource, signal, sys
from pathlib import Path
import torch
from nfkd.runs.weights import save_weights
from nfkd.training.checkpoint import Checkpoint, Position, save_checkpoint
run = Path(sys.argv[1])
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


def test_weights_that_find_no_room_leave_the_old_ones_and_the_systems_error(tmp_path: Path) -> None:
    done = python(WEIGHTS_WITHOUT_ROOM, tmp_path)
    names = ["teacher.safetensors", "checkpoint.safetensors"]
    assert done.stderr.splitlines() == [f"{errno.EFBIG} {tmp_path / name}" for name in names]
    assert {path.name for path in tmp_path.iterdir()} == {*names, "checkpoint.previous.safetensors"}
    sizes = [(tmp_path / name, 20) for name in names] + [(tmp_path / "checkpoint.previous.safetensors", 10)]
    for path, size in sizes:
        assert len(load_file(path)["a"]) == size
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()


def umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_a_full_disk_is_known_by_its_number_in_whichever_words() -> None:
    for words in ("I/O error: No space left on device (os error 28)", "Error while serializing: x (os error 28)"):
        assert system_error(SafetensorError(words), Path("w")).errno == errno.ENOSPC


@pytest.mark.parametrize("inside", ["a file", "/proc"])
def test_a_directory_that_cannot_be_written_is_named(inside: str, tmp_path: Path) -> None:
    directory = Path("/proc") if inside == "/proc" else tmp_path / "file"
    if inside == "a file":
        directory.write_text("")
    with pytest.raises(RunError, match="The run cannot be written") as refused:
        writer_in(directory)
    assert str(directory) in refused.value.cause


def test_a_run_that_is_being_written_is_not_recovered(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    writer = writer_in(run)
    with run_lock(run), pytest.raises(RunError, match="in use"):
        recover(run)
    writer.close()


def test_a_finished_run_stays_finished_when_it_is_recovered(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    write_row(run, msgspec.structs.replace(read_row(run), state="finished"))
    writer_in(run).close()
    recover(run)
    assert read_row(run).state == "finished"


FULL_IN_THE_FIRST_FLUSH = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from nfkd.protocol.events import SamplesDrawn
from nfkd.runs.errors import RunError
from tests.core.runs.written import points, writer_in
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room in range(0, 48_000, 1500):
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(room, code)
        continue
    run = Path(sys.argv[1]) / str(room)
    run.mkdir()
    writer = writer_in(run)
    size = (run / "run.h5").stat().st_size + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    refused = False
    try:
        for step in range(1, 20):
            about = {"run": "run", "seed": 1, "stage": "teacher", "step": step}
            writer.handle(SamplesDrawn(**about, temperature=1.0, samples=np.zeros((8, 2), np.float32)))
            writer.handle(points("teacher", 1000 * step, 1000))
        writer.flush()
    except RunError:
        refused = True
    writer.close()
    os._exit(0 if refused else 3)
"""


def test_a_disk_that_is_full_at_the_first_flush_ends_no_process(tmp_path: Path) -> None:
    done = python(FULL_IN_THE_FIRST_FLUSH, tmp_path)
    assert done.returncode == 0, done.stderr
    codes = dict(line.split() for line in done.stdout.splitlines())
    assert len(codes) == 32
    assert set(codes.values()) == {"0"}, codes
