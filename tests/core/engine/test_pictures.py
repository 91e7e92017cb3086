"""Stored pictures by request: equal to the file's rows, while a run trains, from older, damaged and slow files."""

from __future__ import annotations

import asyncio
import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import nfkd
from nfkd.engine import picture_service
from nfkd.engine.core import Engine, Refused
from nfkd.engine.limits import Limits
from nfkd.protocol import events
from nfkd.protocol import requests as ask
from nfkd.protocol.roles import Role
from tests.core.runs.written import opened
from tests.core.tiny import digits, moons

SAVED = Path(__file__).parents[1] / "runs" / "saved" / "interrupted.zip"
STAGES: tuple[Role, ...] = ("teacher", "student", "baseline")


@pytest.fixture(scope="module")
def moons_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "moons"
    nfkd.run(moons(), path)
    return path


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "digits"
    nfkd.run(digits(training={"teacher_steps": 12, "student_steps": 11}, monitor={"pictures_every": 5}), path)
    return path


def answers(*requests: ask.Request) -> list[Any]:
    """Return the replies of an engine, or what it says when it refuses."""

    async def one(engine: Engine, request: ask.Request) -> Any:
        try:
            return await engine.answer(request)
        except Refused as refused:
            return refused.error

    async def go() -> list[Any]:
        engine = Engine()
        try:
            return [await one(engine, request) for request in requests]
        finally:
            await engine.close()

    return asyncio.run(go())


@pytest.mark.parametrize("name", ["moons_run", "digits_run"])
def test_every_stored_step_is_listed_and_read_as_it_is_in_the_file(name: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(name)
    (listed,) = answers(ask.ListPictures(run=str(run), seed=1))
    assert [stage.stage for stage in listed.stages] == list(STAGES)
    with opened(run / "run.h5") as file:
        for stage in listed.stages:
            group = file[stage.stage]
            assert stage.steps == group["samples/step"][:].tolist()
            assert stage.final == group["final/samples/step"][0]
            reads = [ask.ReadPictures(run=str(run), seed=1, stage=stage.stage, step=step) for step in stage.steps]
            for row, pictures in enumerate(answers(*reads)):
                assert pictures.samples.step == stage.steps[row]
                assert not pictures.samples.final
                assert pictures.samples.temperature == group["samples/temperature"][row]
                np.testing.assert_array_equal(pictures.samples.samples, group["samples/images"][row])
                np.testing.assert_array_equal(pictures.interpolation.images, group["interpolation/images"][row])
                np.testing.assert_array_equal(pictures.interpolation.alpha, group["interpolation/alpha"][:])
                if "density" in group:
                    np.testing.assert_array_equal(pictures.density.log_prob, group["density/log_prob"][row])
                    assert pictures.density.extent == tuple(group["density/extent"][:])
                else:
                    assert pictures.density is None


def test_a_step_between_two_gives_the_earlier_one_and_no_step_the_final_one(moons_run: Path) -> None:
    def read(step: int | None) -> ask.ReadPictures:
        return ask.ReadPictures(run=str(moons_run), seed=1, stage="student", step=step)

    between, late, before, final = answers(read(9), read(10**6), read(-1), read(None))
    with opened(moons_run / "run.h5") as file:
        group = file["student"]
        steps = group["samples/step"][:]
        assert between.samples.step == max(steps[steps <= 9])
        assert late.samples.step == steps[-1]
        assert (before.samples, before.interpolation, before.density) == (None, None, None)
        assert (final.samples.final, final.interpolation.final, final.density.final) == (True, True, True)
        np.testing.assert_array_equal(final.samples.samples, group["final/samples/images"][0])
        np.testing.assert_array_equal(final.density.log_prob, group["final/density/log_prob"][0])


def test_a_series_has_the_samples_of_every_step_and_of_the_final_weights(digits_run: Path) -> None:
    run = str(digits_run)
    whole, three, one, none = answers(
        *(ask.ReadSampleSeries(run=run, seed=1, stage="teacher", frames=frames) for frames in (100, 3, 1, 0))
    )
    with opened(digits_run / "run.h5") as file:
        group = file["teacher"]
        images = np.concatenate([group["samples/images"][:], group["final/samples/images"][:]])
        steps = [*group["samples/step"][:].tolist(), int(group["final/samples/step"][0])]
    np.testing.assert_array_equal(whole.samples, images)
    assert whole.steps == steps
    assert whole.final
    assert (three.steps[0], three.steps[-1]) == (steps[0], steps[-1])
    np.testing.assert_array_equal(three.samples[[0, -1]], images[[0, -1]])
    assert len(three.steps) == len(three.samples) == 3
    assert one.steps == steps[-1:]
    assert none.title == "The request is too small"


def test_pictures_are_read_while_the_run_trains(tmp_path: Path) -> None:
    async def go() -> None:
        engine, drawn, seen = Engine(), {}, asyncio.Event()

        def take(event: events.Event) -> None:
            if isinstance(event, events.SamplesDrawn) and event.stage == "teacher":
                drawn[event.step] = event.samples
                if len(drawn) > 3:
                    seen.set()

        engine.subscribe(take)
        try:
            config = moons(training={"teacher_steps": 100_000})
            accepted = await engine.answer(ask.Run(config=config.to_toml(), folder=str(tmp_path)))
            run = accepted.run  # type: ignore[union-attr]
            await asyncio.wait_for(seen.wait(), 60)
            listed: Any = await engine.answer(ask.ListPictures(run=run, seed=1))
            teacher, student, _ = listed.stages
            assert teacher.steps[:4] == sorted(drawn)[:4]
            assert (teacher.final, student.steps, student.final) == (None, [], None)
            for step in teacher.steps[:4]:
                read: Any = await engine.answer(ask.ReadPictures(run=run, seed=1, stage="teacher", step=step))
                np.testing.assert_array_equal(read.samples.samples, drawn[step])
            newest: Any = await engine.answer(ask.ReadPictures(run=run, seed=1, stage="teacher"))
            assert newest.samples.step >= teacher.steps[-1]
            assert not newest.samples.final
            later: Any = await engine.answer(ask.ReadPictures(run=run, seed=1, stage="student", step=5))
            assert later.samples is None
        finally:
            await engine.close()

    asyncio.run(go())


def test_a_run_of_an_older_version_has_its_series_and_no_final_pictures(moons_run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(moons_run, tmp_path / "run"))
    with opened(path / "run.h5", "r+") as file:
        for stage in STAGES:
            del file[f"{stage}/final"]
        steps = file["teacher/samples/step"][:].tolist()
        images = file["teacher/samples/images"][-1]
    listed, newest, series = answers(
        ask.ListPictures(run=str(path), seed=1),
        ask.ReadPictures(run=str(path), seed=1, stage="teacher"),
        ask.ReadSampleSeries(run=str(path), seed=1, stage="teacher"),
    )
    assert listed.stages[0].steps == steps
    assert listed.stages[0].final is None
    assert (newest.samples.step, newest.samples.final) == (steps[-1], False)
    np.testing.assert_array_equal(newest.samples.samples, images)
    assert (series.steps, series.final) == (steps, False)


def test_a_run_whose_process_was_killed_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(SAVED) as archive:
        archive.extractall(tmp_path / "old")
    listed, teacher = answers(
        ask.ListPictures(run=str(tmp_path / "old"), seed=1),
        ask.ReadPictures(run=str(tmp_path / "old"), seed=1, stage="teacher", step=2),
    )
    with opened(tmp_path / "old" / "run.h5", swmr=True) as file:
        steps = file["teacher/samples/step"][:]
        row = np.searchsorted(steps, 2, side="right") - 1
        np.testing.assert_array_equal(teacher.samples.samples, file["teacher/samples/images"][row])
    assert listed.stages[0].steps == steps.tolist()


def test_a_damaged_file_is_one_clear_message(moons_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(moons_run, tmp_path / "run"))
    path = run / "run.h5"
    requests = (
        ask.ListPictures(run=str(run), seed=1),
        ask.ReadPictures(run=str(run), seed=1, stage="teacher", step=10),
        ask.ReadSampleSeries(run=str(run), seed=1, stage="teacher"),
    )
    with opened(path, "r+") as file:
        del file["teacher/samples/step"]
        file["teacher/samples/step"] = np.zeros((2, 2))
        del file["teacher/samples/images"]
    for error in answers(*requests):
        assert (error.title, error.cause) == ("The run cannot be read", f"{path} is damaged.")
    path.write_bytes(path.read_bytes()[:5000])
    for error in answers(*requests):
        assert (error.title, error.cause) == ("The run cannot be read", f"{path} is not a complete HDF5 file.")
    path.unlink()
    for error in answers(*requests):
        assert error.cause == f"{path} is missing."


@pytest.mark.parametrize("place", ["teacher", "teacher/samples", "teacher/final/samples", "teacher/samples/images"])
def test_a_link_in_place_of_pictures_is_refused(place: str, moons_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(moons_run, tmp_path / "run"))
    with opened(run / "run.h5", "r+") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(moons_run / "run.h5"), place)
    for error in answers(
        ask.ListPictures(run=str(run), seed=1), ask.ReadPictures(run=str(run), seed=1, stage="teacher", step=10)
    ):
        assert (error.title, error.cause) == ("The run was refused", f"In {run / 'run.h5'}, /{place} is a link.")


def test_an_unknown_seed_or_stage_is_named(moons_run: Path) -> None:
    seed, stage = answers(
        ask.ListPictures(run=str(moons_run), seed=7),
        ask.ReadPictures(run=str(moons_run), seed=1, stage="assistant-1", step=1),
    )
    assert (seed.title, seed.cause) == ("There is no such seed", "Seed 7 was requested; the run has 1.")
    assert stage.title == "There are no pictures of assistant 1"
    assert stage.action == "Choose teacher, student, baseline."


def test_a_slow_read_delays_no_other_request(moons_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, released = threading.Semaphore(0), threading.Event()

    def wait(*arguments: Any) -> None:
        started.release()
        released.wait()

    monkeypatch.setattr(picture_service, "read_pictures", wait)

    async def go() -> None:
        engine = Engine(Limits(close_seconds=0.05))
        run = str(moons_run)
        slow = [
            asyncio.ensure_future(engine.answer(ask.ReadPictures(run=run, seed=1, stage="teacher", step=n)))
            for n in range(3)
        ]
        try:
            await asyncio.to_thread(started.acquire)
            await asyncio.to_thread(started.acquire)
            assert isinstance(await engine.answer(ask.OpenRun(run=run)), ask.Snapshot)
            assert isinstance(await engine.answer(ask.ListRuns(folder=str(moons_run.parent))), ask.RunList)
            sample = ask.Sample(run=run, seed=1, count=2, temperature=1.0)
            assert isinstance(await engine.answer(sample), ask.Samples)
            assert engine.running == [run, run]
            assert not any(request.done() for request in slow)
        finally:
            released.set()
            await asyncio.gather(*slow)
            await engine.close()

    asyncio.run(go())
