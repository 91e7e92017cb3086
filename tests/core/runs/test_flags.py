"""Flags of samples in a run's file: as they were sent, unknown, or derived where older files lack them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.engine.explore import Explorer
from nfkd.protocol import events
from nfkd.protocol.flags import NOT_FINITE, OUT_OF_RANGE, USABLE
from nfkd.protocol.inspection import Origin
from nfkd.protocol.requests import Interpolate, Sample
from nfkd.runs.pictures import read_pictures
from nfkd.runs.reader import open_run
from nfkd.runs.writer import RunWriter
from tests.core.runs.written import opened
from tests.core.tiny import digits, moons

POINTS = np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0], [90.0, 0.0]] * 2, np.float32)
FLAGS = np.array([USABLE, NOT_FINITE, NOT_FINITE, OUT_OF_RANGE] * 2, np.uint8)
DERIVED = np.array([USABLE, NOT_FINITE, NOT_FINITE, USABLE] * 2, np.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    nfkd.run(moons(training={"teacher_steps": 3, "student_steps": 3}), path)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def drawn(flags: np.ndarray | None) -> list[events.RunEvent]:
    fields = {"run": "run", "seed": 1, "stage": "teacher", "step": 40}
    paths = np.zeros((2, 3, 2), np.float32)
    paths[1, 2] = np.nan
    path_flags = None if flags is None else np.array([[0, 0, 0], [0, 0, NOT_FINITE]], np.uint8)
    return [
        events.SamplesDrawn(**fields, temperature=1.5, samples=POINTS, flags=flags),
        events.InterpolationDrawn(**fields, mode="linear", alpha=np.linspace(0, 1, 3), images=paths, flags=path_flags),
    ]


def written(run: Path, flags: np.ndarray | None) -> tuple[events.SamplesDrawn, events.InterpolationDrawn]:
    writer = RunWriter.reopen(run, {"teacher": None, "student": None, "baseline": None})
    for event in drawn(flags):
        writer.handle(event)
    writer.close()
    pictures = read_pictures(run, 1, "teacher", 40)
    assert pictures.samples is not None
    assert pictures.interpolation is not None
    assert pictures.samples.step == pictures.interpolation.step == 40
    return pictures.samples, pictures.interpolation


def test_flags_are_read_as_they_were_sent(run: Path) -> None:
    samples, interpolation = written(run, FLAGS)
    np.testing.assert_array_equal(samples.flags, FLAGS)  # type: ignore[arg-type]
    np.testing.assert_array_equal(interpolation.flags, [[0, 0, 0], [0, 0, NOT_FINITE]])  # type: ignore[arg-type]
    with opened(run / "run.h5") as file:
        assert file["teacher/samples/flags"][-1].tolist() == FLAGS.tolist()


def test_without_flags_those_of_vectors_are_derived(run: Path) -> None:
    samples, interpolation = written(run, None)
    np.testing.assert_array_equal(samples.flags, DERIVED)  # type: ignore[arg-type]
    np.testing.assert_array_equal(interpolation.flags, [[0, 0, 0], [0, 0, NOT_FINITE]])  # type: ignore[arg-type]


def test_a_file_of_an_older_version_is_continued_without_flags(run: Path) -> None:
    with opened(run / "run.h5", "r+") as file:
        for name in ("samples", "interpolation"):
            del file[f"teacher/{name}/flags"], file[f"teacher/final/{name}/flags"]
    samples, _ = written(run, FLAGS)
    np.testing.assert_array_equal(samples.flags, DERIVED)  # type: ignore[arg-type]
    with opened(run / "run.h5") as file:
        assert "flags" not in file["teacher/samples"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "images"
    nfkd.run(digits(training={"teacher_steps": 2, "student_steps": 2}), path)
    return path


def test_images_of_an_older_version_have_unknown_flags(images: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(images, tmp_path / "run"))
    pictures = read_pictures(run, 1, "teacher")
    assert pictures.samples is not None
    assert pictures.samples.flags is not None
    with opened(run / "run.h5", "r+") as file:
        del file["teacher/final/samples/flags"]
    pictures = read_pictures(run, 1, "teacher")
    assert pictures.samples is not None
    assert pictures.samples.final
    assert pictures.samples.flags is None


def test_replies_have_the_flags_of_the_samples_before_they_are_clamped(images: Path) -> None:
    explorer, run, record = Explorer(), str(images), open_run(images)
    reply = explorer.answer(Sample(run=run, seed=1, count=40, temperature=4.0, noise_seed=3))
    paths = explorer.answer(
        Interpolate(
            run=run, seed=1, first=Origin("validation", 0), second=Origin("validation", 1), mode="linear", steps=5
        )
    )
    for role, flow in {"teacher": record.load_teacher(), "student": record.load_student()}.items():
        x = flow.scaled.sample(40, temperature=4.0, generator=torch.Generator().manual_seed(3)).numpy()
        outside = ((x < -0.5) | (x > 1.5)).reshape(40, -1).any(axis=1)
        assert outside.any()
        np.testing.assert_array_equal(reply.flags[role], np.where(outside, OUT_OF_RANGE, USABLE))
        np.testing.assert_array_equal(reply.samples[role], x.clip(0, 1))
        assert paths.flags[role].tolist() == [USABLE] * 5
