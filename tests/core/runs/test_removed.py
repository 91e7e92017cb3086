"""Runs whose file is removed or replaced while they write to it: one clear error, and no data is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nfkd
from nfkd.protocol import events
from nfkd.runs.errors import RunError
from nfkd.runs.layout import create_run_at
from nfkd.runs.reader import open_run
from tests.core.runs.written import datasets, opened, points, writer_in
from tests.core.tiny import moons

CURVE = "teacher/curves/train/total/step"
TINY = moons(training={"teacher_steps": 6, "student_steps": 4, "checkpoint_every": 2})


def test_the_data_of_a_removed_file_is_saved_again(tmp_path: Path) -> None:
    run = create_run_at(tmp_path / "run", moons(), teacher="", student="")
    writer = writer_in(run)
    writer.handle(points("teacher", 1, 50))
    writer.flush()
    writer.handle(points("teacher", 51, 50))
    (run / "run.h5").unlink()
    with pytest.raises(RunError, match="removed while the run was writing to it") as refused:
        writer.flush()
    assert refused.value.action == "Resume the run."
    with opened(run / "run.h5") as file:
        np.testing.assert_array_equal(file[CURVE][...], np.arange(1, 101))
    with pytest.raises(RunError, match="removed while"):  # later events are not dropped silently
        writer.handle(points("teacher", 101, 50))
    writer.close()


@pytest.mark.parametrize("by", ["a file", "a copy", "a link"])
def test_a_replaced_file_is_left_alone_and_the_data_is_saved_beside_it(by: str, tmp_path: Path) -> None:
    run = create_run_at(tmp_path / "run", moons(), teacher="", student="")
    writer = writer_in(run)
    writer.handle(points("teacher", 1, 50))
    other = tmp_path / "other"
    other.write_bytes((run / "run.h5").read_bytes() if by == "a copy" else b"mine")
    if by == "a link":
        (run / "run.h5").unlink()
        (run / "run.h5").symlink_to(other)
    else:
        other.replace(run / "run.h5")
    before = (run / "run.h5").read_bytes()
    with pytest.raises(RunError, match="replaced by another file") as refused:
        writer.flush()
    writer.close()
    assert (run / "run.h5").read_bytes() == before
    assert "saved-run.h5" in refused.value.action
    assert len(datasets(run / "saved-run.h5")[CURVE]["values"]) == 50 * 8


def test_a_directory_that_was_moved_is_reported(tmp_path: Path) -> None:
    run = create_run_at(tmp_path / "run", moons(), teacher="", student="")
    writer = writer_in(run)
    run.rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="was moved or deleted") as refused:
        writer.flush()
    assert "resume the run in its new place" in refused.value.action
    writer.close()


@pytest.mark.parametrize("kind", [events.SamplesDrawn, events.StageFinished])
def test_a_run_whose_directory_is_moved_fails_and_resumes_there(kind: type[events.RunEvent], tmp_path: Path) -> None:
    """After a picture the writer fails; after the end of a stage the log does."""

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, kind) and (tmp_path / "run").exists():
            (tmp_path / "run").rename(tmp_path / "moved")

    with pytest.raises(RunError, match="run's directory is gone") as failed:
        nfkd.run(TINY, tmp_path / "run", on_event=watch)
    assert str(tmp_path / "run") in failed.value.cause
    assert "Errno" not in str(failed.value)
    assert nfkd.run(TINY, tmp_path / "moved", resume=True).row.state == "finished"


def test_a_finished_run_whose_file_is_replaced_during_resume_fails(tmp_path: Path) -> None:
    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.SeedStarted) and event.resumed:
            (tmp_path / "run" / "run.h5").unlink()
            (tmp_path / "run" / "run.h5").write_bytes(b"mine")

    nfkd.run(TINY, tmp_path / "run")
    with pytest.raises(RunError, match=r"saved-run\.h5"):
        nfkd.run(TINY, tmp_path / "run", on_event=watch, resume=True)


@pytest.mark.parametrize("stage", ["teacher", "baseline"])
def test_a_run_whose_file_is_removed_fails_and_resumes(stage: str, tmp_path: Path) -> None:
    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted) and event.stage == stage:
            (tmp_path / "run" / "run.h5").unlink()

    with pytest.raises(RunError, match="The run's file is gone") as failed:
        nfkd.run(TINY, tmp_path / "run", on_event=watch)
    assert str(tmp_path / "run" / "run.h5") in failed.value.cause
    assert open_run(tmp_path / "run").row.state == "failed"
    record = nfkd.run(TINY, tmp_path / "run", resume=True)
    assert record.row.state == "finished"
    assert [len(curves["train/nll"].steps) for curves in record.curves.values()] == [6, 4, 4]


def test_a_run_fails_when_the_file_of_an_earlier_seed_is_removed(tmp_path: Path) -> None:
    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.StageStarted) and (event.seed, event.stage) == (2, "baseline"):
            (tmp_path / "run" / "seed-1" / "run.h5").unlink()

    with pytest.raises(RunError, match="was removed after its seed had ended") as failed:
        nfkd.run(TINY.replace(seeds={"count": 2}), tmp_path / "run", on_event=watch)
    assert str(Path("seed-1") / "run.h5") in failed.value.cause
    assert open_run(tmp_path / "run").row.state == "failed"
