"""Requests about many runs: values, comparison, curves, labels, folders, the trash and reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

import nfkd
from nfkd.engine.limits import Limits
from nfkd.protocol import comparing, events
from nfkd.protocol import requests as ask
from nfkd.runs.layout import create_run_at
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row, write_row
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.tiny import moons

TRAINING = {"teacher_steps": 4, "student_steps": 4, "batch_size": 16}
LONG = {"training": {"teacher_steps": 100_000, "student_steps": 100_000}}
LIMITS = Limits(watch_seconds=0.02)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the same data in a sub-folder, and one of other data."""
    folder = tmp_path_factory.mktemp("runs")
    for name, changes in (("narrow", {}), ("wide", {"student": {"hidden": 12}}), ("more", {"data": {"count": 300}})):
        nfkd.run(moons(name=name, training=TRAINING, seeds={"count": 2}, **changes), folder / "sub" / name)
    return folder


def ended(path: Path) -> str:
    run = create_run_at(path, moons(), teacher="", student="")
    write_row(run, msgspec.structs.replace(read_row(run), state="finished"))
    return str(run)


async def listed(watched: Watched, folder: Path) -> dict[str, events.RunRow]:
    reply: Any = await watched.engine.answer(ask.ListRuns(folder=str(folder)))
    return {str(Path(row.run).relative_to(folder)): row for row in reply.rows}


def removed(watched: Watched) -> list[tuple[str, str]]:
    return [(event.run, event.new) for event in watched.seen if isinstance(event, events.RunRemoved)]


def test_values_of_runs_are_read_and_unreadable_ones_left_out(trained: Path, tmp_path: Path) -> None:
    run = str(trained / "sub" / "wide")

    async def scenario(watched: Watched) -> None:
        request = comparing.ReadRunValues(runs=[run, str(tmp_path), "/nowhere"], folder=str(trained))
        reply: Any = await watched.engine.answer(request)
        assert list(reply.values) == list(reply.seeds) == [run]
        values = reply.values[run]
        assert (values["student.hidden"], values["folder"], values["name"]) == (12.0, "sub", "wide")
        tests = {summary.seed: summary.test for summary in open_run(run).summary if summary.stage == "student"}
        assert values["student_test"] == pytest.approx(np.mean(list(tests.values())))
        assert {seed.seed: seed.values["student_test"] for seed in reply.seeds[run]} == tests

    run_engine(scenario)


def test_runs_are_compared_and_those_of_other_data_refused(trained: Path) -> None:
    narrow, wide, more = (str(trained / "sub" / name) for name in ("narrow", "wide", "more"))

    async def scenario(watched: Watched) -> None:
        reply: Any = await watched.engine.answer(comparing.CompareRuns(runs=[narrow, wide]))
        assert (reply.names, reply.unit) == (["narrow", "wide"], "nats")
        assert reply.settings == {"student.hidden": [4.0, 12.0]}
        assert reply.same > 20
        assert reply.verdicts == [read_row(Path(run)).verdict for run in (narrow, wide)]
        means = {metric.name: [mean.value for mean in metric.means] for metric in reply.metrics}
        best = {metric.name: metric.best for metric in reply.metrics}
        assert best["test likelihood"] == int(np.argmin(means["test likelihood"]))
        assert best["speed of sampling"] == int(np.argmax(means["speed of sampling"]))
        assert best["C2ST"] == int(np.argmin(np.abs(np.array(means["C2ST"]) - 0.5)))
        error = (await refusal(watched.engine, comparing.CompareRuns(runs=[narrow, more]))).error
        assert error.title == "The runs have different data"
        assert all(part in error.cause for part in ("narrow", "more", "data.count", "400", "300"))
        assert (await refusal(watched.engine, comparing.CompareRuns(runs=[]))).error.cause == "No run was chosen."

    run_engine(scenario)


def test_curves_profiles_and_thumbnails_skip_what_cannot_be_read(trained: Path, tmp_path: Path) -> None:
    good, broken = str(trained / "sub" / "narrow"), Path(shutil.copytree(trained / "sub" / "narrow", tmp_path / "b"))
    (broken / "seed-1" / "run.h5").write_bytes(b"noise")
    runs = [good, str(broken), str(tmp_path / "nowhere")]

    async def scenario(watched: Watched) -> None:
        engine = watched.engine
        curves: Any = await engine.answer(comparing.ReadRunCurves(runs=runs, curve="train/nll"))
        assert list(curves.curves) == [good]
        assert list(curves.unreadable) == [str(broken)]
        assert "not a complete HDF5 file" in curves.unreadable[str(broken)]
        again: Any = await engine.answer(comparing.ReadRunCurves(runs=runs, curve="train/nll"))
        assert again.curves[good] is curves.curves[good]  # not read again
        pictures: Any = await engine.answer(comparing.ReadThumbnails(runs=runs, pixels=24))
        assert {run: picture.shape for run, picture in pictures.pictures.items()} == {good: (24, 24)}
        profiles: Any = await engine.answer(comparing.ReadMatchingProfiles(runs=runs))
        assert profiles.profiles.keys() <= {good}

    run_engine(scenario)


def test_labels_change_rows_of_ended_active_and_other_runs(tmp_path: Path) -> None:
    other = create_run_at(tmp_path / "other", moons(), teacher="", student="")
    content = json.loads((other / "state.json").read_text())
    parent = psutil.Process().parent()
    assert parent is not None
    content |= {"pid": parent.pid, "born": parent.create_time()}
    content["row"]["state"] = "running"
    (other / "state.json").write_text(json.dumps(content))
    ended(tmp_path / "ended")

    async def scenario(watched: Watched) -> None:
        await listed(watched, tmp_path)
        active = await watched.start(moons(**LONG), tmp_path)
        await watched.state(active, "running")
        runs = [active, str(other), str(tmp_path / "ended")]
        await watched.engine.answer(comparing.LabelRuns(runs=runs, add=["paper"], note="odd"))
        rows = await listed(watched, tmp_path)
        assert {name: (row.tags, row.note) for name, row in rows.items()} == dict.fromkeys(rows, (["paper"], "odd"))
        assert len(rows) == 3
        for run in runs:
            await watched.until(
                lambda event, run=run: (
                    isinstance(event, events.RunChanged) and event.run == run and event.row.tags == ["paper"]
                )
            )
        watched.seen.clear()
        await watched.engine.answer(ask.Stop(run=active, scope="run"))  # its job does not know the tags
        await watched.ended(active)
        changed = [event.row.tags for event in watched.seen if isinstance(event, events.RunChanged)]
        assert changed
        assert all(tags == ["paper"] for tags in changed)
        error = await refusal(watched.engine, comparing.LabelRuns(runs=[runs[2], "/nowhere"], add=["x"]))
        assert "/nowhere" in error.error.cause
        assert (await listed(watched, tmp_path))["ended"].tags == ["paper", "x"]

    run_engine(scenario)


def test_runs_move_into_folders_and_stay_known(tmp_path: Path) -> None:
    first, second = ended(tmp_path / "a"), ended(tmp_path / "old" / "b")
    ended(tmp_path / "new" / "taken")
    taken = ended(tmp_path / "taken")
    folder = tmp_path / "new"

    async def scenario(watched: Watched) -> None:
        await listed(watched, tmp_path)
        active = await watched.start(moons(**LONG), tmp_path)
        request = comparing.MoveRuns(runs=[first, second, taken, active], folder=str(folder))
        reply: Any = await watched.engine.answer(request)
        assert reply.moved == {first: str(folder / "a"), second: str(folder / "b")}
        assert reply.failed.keys() == {taken, active}
        assert "already a taken" in reply.failed[taken]
        assert "still training or queued" in reply.failed[active]
        assert set(removed(watched)) == set(reply.moved.items())
        for path in reply.moved.values():
            await watched.until(lambda event, path=path: isinstance(event, events.RunChanged) and event.run == path)
        assert set(await listed(watched, tmp_path)) == {"new/a", "new/b", "new/taken", "taken", Path(active).name}
        deep = comparing.MoveRuns(runs=[taken], folder=str(tmp_path / "1" / "2" / "3" / "4"))
        assert "more than 3 folders below" in (await refusal(watched.engine, deep)).error.cause
        failing = comparing.MoveRuns(runs=[active], folder=str(tmp_path / "empty"))
        await watched.engine.answer(failing)
        assert not (tmp_path / "empty").exists()

    run_engine(scenario)


def test_the_trash_is_filled_listed_restored_and_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = ended(tmp_path / "deep" / "a"), ended(tmp_path / "b")
    monkeypatch.setattr("nfkd.runs.trash.send2trash", shutil.rmtree)

    async def scenario(watched: Watched) -> None:
        engine, folder = watched.engine, str(tmp_path)
        await listed(watched, tmp_path)
        active = await watched.start(moons(**LONG), tmp_path)
        reply: Any = await engine.answer(comparing.TrashRuns(folder=folder, runs=[run, other, active]))
        assert reply.moved.keys() == {run, other}
        assert reply.failed.keys() == {active}
        assert removed(watched) == [(run, ""), (other, "")]
        assert set(await listed(watched, tmp_path)) == {Path(active).name}
        trash: Any = await engine.answer(comparing.ListTrash(folder=folder))
        assert [row.run for row in trash.rows] == [reply.moved[other], reply.moved[run]]
        assert trash.size > 1000
        restored: Any = await engine.answer(comparing.RestoreRuns(runs=[reply.moved[run]]))
        assert restored.moved == {reply.moved[run]: run}
        await watched.until(lambda event: isinstance(event, events.RunChanged) and event.run == run)
        assert set(await listed(watched, tmp_path)) == {"deep/a", Path(active).name}
        await engine.answer(comparing.EmptyTrash(folder=folder))
        assert not (tmp_path / ".trash").exists()
        empty: Any = await engine.answer(comparing.ListTrash(folder=folder))
        assert (empty.rows, empty.size) == ([], 0)

    run_engine(scenario)


def test_runs_that_appear_in_sub_folders_are_reported(tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        await listed(watched, tmp_path)
        run = ended(tmp_path / "digits" / "two" / "a")
        await watched.until(lambda event: isinstance(event, events.RunChanged) and event.run == run)
        shutil.rmtree(tmp_path / "digits")
        await watched.until(lambda event: isinstance(event, events.RunRemoved) and event.run == run)
        assert await listed(watched, tmp_path) == {}

    run_engine(scenario, LIMITS)


def test_reports_of_one_run_and_of_a_folder_are_written(trained: Path, tmp_path: Path) -> None:
    run = str(trained / "sub" / "narrow")

    async def scenario(watched: Watched) -> None:
        path = tmp_path / "report.html"
        await watched.engine.answer(comparing.WriteReport(runs=[run], path=str(path)))
        assert "narrow" in path.read_text(encoding="utf-8")
        await watched.engine.answer(comparing.WriteReport(runs=[str(trained)], path=str(path)))
        assert "Students, the best first" in path.read_text(encoding="utf-8")
        text = await refusal(watched.engine, comparing.WriteReport(runs=[run], path=str(tmp_path / "report.txt")))
        assert "does not end in .html" in text.error.cause

    run_engine(scenario)
