"""Copies of a seed's file keep all data and layouts; complete files are left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import nfkd
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import copy_cut, recover
from tests.core.runs.written import datasets, opened
from tests.core.tiny import moons

FIXED = ("interpolation/mode", "interpolation/alpha", "density/extent")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    changes = {"training": {"teacher_steps": 12, "student_steps": 12}, "monitor": {"pictures_every": 2}}
    nfkd.run(moons(**changes), path)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def make_chunked(path: Path) -> None:
    """Store the arrays of fixed size in chunks, as copies by earlier versions did."""
    with opened(path, "r+") as file:
        for name in [f"{stage}/{name}" for stage in ("teacher", "student", "baseline") for name in FIXED]:
            values = file[name][()]
            del file[name]
            file.create_dataset(name, data=values, maxshape=values.shape, chunks=True)


@pytest.mark.parametrize("chunked", [False, True])
def test_two_copies_have_every_dataset_with_its_layout(chunked: bool, run: Path) -> None:
    path = run / "run.h5"
    if chunked:
        make_chunked(path)
    before = datasets(path)
    assert before["teacher/interpolation/images"]["shape"][0] == 7  # steps 1, 2, 4 … 12
    for _ in range(2):
        copy_cut(path, path, None)
    assert datasets(path) == before
    for _ in range(2):
        copy_cut(path, path, {"teacher": None, "student": None, "baseline": None})
    assert datasets(path) == before


@pytest.mark.parametrize("chunked", [False, True])
def test_recovering_a_complete_run_changes_nothing(chunked: bool, run: Path) -> None:
    if chunked:
        make_chunked(run / "run.h5")
    before = (run / "run.h5").read_bytes()
    assert "nothing had to be recovered" in recover(run)
    assert (run / "run.h5").read_bytes() == before


def test_pictures_beside_chunked_arrays_are_read_up_to_their_last_complete_row(run: Path) -> None:
    make_chunked(run / "run.h5")
    with opened(run / "run.h5", "r+") as file:
        del file["teacher/final"], file["student/final"]  # as in files of an earlier version
        for name in ("step", "images"):
            group = file["student/interpolation"]
            group[name].resize(1, axis=0)  # cut by an earlier version
        expected = {stage: file[f"{stage}/interpolation/images"][-1] for stage in ("teacher", "student")}
    stages = open_run(run).seeds[1].stages
    found = {"teacher": stages["teacher"].interpolation, "student": stages["student"].interpolation}
    for stage, step in (("teacher", 12), ("student", 1)):
        paths = found[stage]
        assert paths is not None
        assert (paths.step, paths.final, paths.mode) == (step, False, "norm_corrected")
        np.testing.assert_array_equal(paths.images, expected[stage])
        assert len(paths.alpha) == 3
    assert stages["teacher"].density is not None
    assert stages["teacher"].density.step == 12


def test_a_cut_stage_loses_its_final_pictures_and_figures_and_an_ended_one_keeps_them(run: Path) -> None:
    path = run / "run.h5"
    before = datasets(path)
    copy_cut(path, path, {"teacher": None, "student": 6})
    after = datasets(path)
    for name in before:
        stage, _, rest = name.removeprefix("summary/").partition("/")
        if stage in {"teacher", "floor"}:
            assert after[name] == before[name]
        elif name.startswith("summary/"):
            assert np.isnan(np.frombuffer(after[name]["values"])).all()
        elif rest.startswith("final/") and rest.endswith("/step"):
            assert after[name]["shape"] == (0,)
    assert np.frombuffer(after["student/density/step"]["values"], np.int64).tolist() == [1, 2, 4, 6]
    assert after["baseline/samples/images"]["shape"][0] == 0


def test_a_cut_copy_of_an_older_file_gets_the_groups_of_final_pictures(run: Path) -> None:
    path = run / "run.h5"
    before = datasets(path)
    with opened(path, "r+") as file:
        for stage in ("teacher", "student", "baseline"):
            del file[f"{stage}/final"]
    copy_cut(path, path, {"teacher": None})
    after = datasets(path)
    assert after.keys() == before.keys()
    for name in after:
        assert (after[name]["chunks"], after[name]["maxshape"]) == (before[name]["chunks"], before[name]["maxshape"])
