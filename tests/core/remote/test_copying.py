"""Copies of runs by an engine in this process: whole, of one moment, and of nothing but runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import nfkd
from nfkd.protocol import copying as messages
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.remote.copying import RunCopy, copying
from nfkd.remote.errors import RemoteError
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row
from tests.core.engine.watched import Watched, refusal, run_engine
from tests.core.tiny import moons

Steps = Generator[Any, Any, bool]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("there") / "first"
    nfkd.run(moons(name="first", training={"teacher_steps": 6, "student_steps": 6}, seeds={"count": 2}), path)
    return path


def content(run: Path) -> dict[str, bytes]:
    """Return all files but the lock, read without our code."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def steps_of(run: Path, stage: str) -> np.ndarray:
    """Return the steps of a curve; the file must be closed, so that it is opened without SWMR."""
    with h5py.File(run / "run.h5") as file:
        dataset: Any = file[f"{stage}/curves/train/total/step"]
        return dataset[()]


async def perform(watched: Watched, steps: Steps, stop_after: int | None = None) -> bool:
    """Answer the requests of a copy by an engine; with `stop_after`, only so many of them."""
    try:
        request = next(steps)
        count = 0
        while count != stop_after:
            request = steps.send(await watched.engine.answer(request))
            count += 1
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
    return False


async def list_folder(watched: Watched, folder: Path) -> None:
    await watched.engine.answer(ask.ListRuns(folder=str(folder)))


def test_a_copy_equals_the_run(finished: Path, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []

    async def scenario(watched: Watched) -> None:
        await list_folder(watched, finished.parent)
        with copying(str(finished), tmp_path / "copy", lambda *done: shown.append(done)) as copy:
            assert not await perform(watched, copy.steps())
            assert not (tmp_path / "copy").exists()

    run_engine(scenario)
    assert content(tmp_path / "copy") == content(finished)
    assert list(tmp_path.iterdir()) == [tmp_path / "copy"]
    total = sum(map(len, content(finished).values()))
    assert shown[-1] == (total, total)
    assert shown == sorted(shown)
    assert [stage.test for stage in open_run(tmp_path / "copy").summary] == [
        stage.test for stage in open_run(finished).summary
    ]


def test_a_repeated_copy_keeps_what_has_arrived(finished: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    async def scenario(watched: Watched) -> None:
        await list_folder(watched, finished.parent)
        with copying(str(finished), tmp_path / "copy") as copy:
            await perform(watched, copy.steps(), stop_after=4)
            before = watched.engine.answer

            async def count(request: Any) -> Any:
                asked.append(getattr(request, "path", ""))
                return await before(request)

            watched.engine.answer = count  # type: ignore[method-assign]
            await perform(watched, copy.steps())

    run_engine(scenario)
    assert content(tmp_path / "copy") == content(finished)
    files = [file for file, data in content(finished).items() if data]
    assert 0 < len(set(asked) - {""}) < len(files)


def test_an_error_leaves_nothing_and_a_taken_path_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), copying(str(finished), tmp_path / "copy"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "copy").mkdir()
    with pytest.raises(RemoteError, match="exists already"), copying(str(finished), tmp_path / "copy"):
        pass


def test_only_runs_of_listed_folders_are_copied(finished: Path, tmp_path: Path) -> None:
    async def scenario(watched: Watched) -> None:
        request = messages.CopyRun(run=str(finished))
        assert "no folder of runs that was listed" in (await refusal(watched.engine, request)).error.cause
        await list_folder(watched, finished.parent)
        for run in (finished.parent / ".." / tmp_path.name, finished.parent, tmp_path, Path("/etc")):
            await refusal(watched.engine, messages.CopyRun(run=str(run)))
        assert isinstance(await watched.engine.answer(request), messages.RunFiles)

    run_engine(scenario)


def test_nothing_outside_the_run_can_be_read(tmp_path: Path) -> None:
    run = tmp_path / "there" / "run"
    nfkd.run(moons(name="run", training={"teacher_steps": 2, "student_steps": 2}), run)
    (tmp_path / "secret").write_text("secret")
    (run / "link").symlink_to(tmp_path / "secret")
    (run / "folder").symlink_to(tmp_path)
    os.mkfifo(run / "fifo")

    async def scenario(watched: Watched) -> None:
        await list_folder(watched, run.parent)
        listed: Any = await watched.engine.answer(messages.CopyRun(run=str(run)))
        names = {file.path for file in listed.files}
        assert "state.json" in names
        assert not {"link", "folder/secret", "fifo", ".lock"} & names
        for path in ("link", "../../secret", str(tmp_path / "secret"), "folder/secret", ""):
            request = messages.ReadRunFile(ticket=listed.ticket, path=path, start=0)
            await refusal(watched.engine, request)
        await refusal(watched.engine, messages.ReadRunFile(ticket="other", path="state.json", start=0))
        await refusal(watched.engine, messages.ReadRunFile(ticket=listed.ticket, path="state.json", start=-1))
        (run / "log.jsonl").unlink()
        (run / "log.jsonl").symlink_to(tmp_path / "secret")
        request = messages.ReadRunFile(ticket=listed.ticket, path="log.jsonl", start=0)
        assert (await refusal(watched.engine, request)).error.title == "The run has changed"
        await watched.engine.answer(messages.EndCopy(ticket=listed.ticket))
        request = messages.ReadRunFile(ticket=listed.ticket, path="state.json", start=0)
        assert (await refusal(watched.engine, request)).error.title == "The copy has ended"

    run_engine(scenario)


def test_a_run_in_training_is_copied_as_of_one_moment_and_can_be_resumed(tmp_path: Path) -> None:
    config = moons(name="long", training={"teacher_steps": 100_000, "student_steps": 8, "checkpoint_every": 20})

    async def scenario(watched: Watched) -> None:
        accepted: Any = await watched.engine.answer(ask.Run(config=config.to_toml(), folder=str(tmp_path / "there")))
        run = Path(accepted.run)
        await watched.until(lambda event: isinstance(event, events.Progress) and event.step > 20)
        await list_folder(watched, run.parent)
        with copying(accepted.run, tmp_path / "copy") as copy:
            assert await perform(watched, copy.steps())
        assert read_row(run).state == "running"
        assert [path.name for path in run.parent.iterdir()] == ["long"]
        await watched.engine.answer(ask.Stop(run=accepted.run, scope="run"))
        await watched.engine.wait_until_idle()

        copied = tmp_path / "copy"
        assert read_row(copied).state == "interrupted"
        steps = steps_of(copied, "teacher")
        assert len(steps) > 0
        assert np.all(np.diff(steps) > 0)
        watched.seen.clear()
        await watched.engine.answer(ask.ResumeFromDisk(run=str(copied)))
        await watched.until(lambda event: isinstance(event, events.StageStarted))
        await watched.engine.answer(ask.Stop(run=str(copied), scope="run"))
        await watched.engine.wait_until_idle()
        (started,) = [event for event in watched.seen if isinstance(event, events.StageStarted)]
        assert started.step >= 20
        assert started.step % 20 == 0

    run_engine(scenario)


def wrong(files: list[messages.RunFile], data: bytes = b"x") -> Any:
    """Answer a copy as a wrong engine would."""

    def answer(request: Any) -> Any:
        match request:
            case messages.CopyRun():
                return messages.RunFiles(run=request.run, ticket="t", files=files)
            case messages.ReadRunFile():
                return messages.FilePart(start=request.start, data=data)
            case _:
                return ask.Done()

    return answer


def drive(steps: Steps, answer: Any) -> bool:
    request = next(steps)
    while True:
        try:
            request = steps.send(answer(request))
        except StopIteration as end:
            return end.value


HASH = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", ".", "", "a//b", "a\\b", "c:x", "a\0b", "a/./b", "/".join("abcdefghi")]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    with pytest.raises(RemoteError, match="with the name"):
        drive(RunCopy("run", folder).steps(), wrong([messages.RunFile(path=path, size=1, sha256=HASH)]))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "data", "part"),
    [
        ([messages.RunFile(path="a", size=1, sha256="0" * 64)], b"x", "changed while it was copied"),
        ([messages.RunFile(path="a", size=2, sha256=HASH)], b"", "changed while it was copied"),
        ([messages.RunFile(path="a", size=1, sha256=HASH)], b"xy", "changed while it was copied"),
        ([messages.RunFile(path="a", size=-1, sha256=HASH)], b"x", "no size or hash"),
        ([messages.RunFile(path="a", size=1, sha256="")], b"x", "no size or hash"),
        ([messages.RunFile(path=name, size=1, sha256=HASH) for name in "aA"], b"x", "one twice"),
        ([messages.RunFile(path="a", size=1 << 60, sha256=HASH)], b"x", "bytes free"),
    ],
)
def test_a_wrong_engine_is_refused(tmp_path: Path, files: list[messages.RunFile], data: bytes, part: str) -> None:
    with pytest.raises(RemoteError, match=part), copying("run", tmp_path / "copy") as copy:
        drive(copy.steps(), wrong(files, data))
    assert list(tmp_path.iterdir()) == []
