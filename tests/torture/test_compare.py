"""The comparison of two runs finds every kind of difference, except in wall times."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nfkd
from tests.core.runs.written import opened
from tests.torture.compare import differences
from tests.torture.experiments import EXPERIMENTS

IMAGES, ALPHA = "teacher/interpolation/images", "student/interpolation/alpha"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "whole"
    nfkd.run(EXPERIMENTS["plane"].replace(training={"teacher_steps": 6, "student_steps": 6}), path)
    return path


@pytest.fixture
def other(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "other"))


def recreated(file: Any, name: str, **changes: Any) -> None:
    """Replace a dataset by one with the same values and attributes, but other creation properties."""
    old = file[name]
    values, attributes = old[()], dict(old.attrs)
    given = {key: getattr(old, key) for key in ("dtype", "maxshape", "chunks", "fillvalue")} | changes
    del file[name]
    file.create_dataset(name, data=values, **given).attrs.update(attributes)


def one_value(file: Any) -> None:
    file[IMAGES][-1, 0, 0, 0] += 1e-6


def one_time(file: Any) -> None:
    file["teacher/curves/train/total/time"][0] -= 1e-3


CHANGES: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "a value of a picture": (one_value, IMAGES, "1 of"),
    "a lost row": (lambda file: file[IMAGES].resize(1, axis=0), IMAGES, "shape"),
    "chunks": (lambda file: recreated(file, ALPHA, chunks=(2,)), ALPHA, "chunks"),
    "a limit": (lambda file: recreated(file, IMAGES, maxshape=file[IMAGES].shape), IMAGES, "maxshape"),
    "a fill value": (lambda file: recreated(file, IMAGES, fillvalue=0), IMAGES, "fill value"),
    "a type": (lambda file: recreated(file, ALPHA, dtype="f8"), ALPHA, "dtype"),
    "an attribute": (lambda file: file[IMAGES].attrs.update(units="m"), IMAGES, "attribute units"),
    "an attribute of a group": (lambda file: file["teacher"].attrs.update(NX_class=b"x"), "teacher", "attribute"),
    "a missing dataset": (lambda file: file.__delitem__(ALPHA), ALPHA, "is missing"),
    "one too many": (lambda file: file.create_dataset("teacher/more", data=1), "teacher/more", "is left over"),
    "a NaN": (lambda file: file["summary/student/c2st"].__setitem__(0, np.nan), "summary/student/c2st", "1 of 1"),
    "a time that goes back": (
        lambda file: file["teacher/curves/train/total/time"].__setitem__(0, 1e6),
        "teacher/curves/train/total/time",
        "go back",
    ),
}


@pytest.mark.parametrize(("change", "name", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_a_difference_in_the_file_is_found_and_named(
    change: Callable[[Any], object], name: str, expected: str, whole: Path, other: Path
) -> None:
    with opened(other / "run.h5", "r+", libver="latest") as file:
        change(file)
    found = differences(whole, other)
    assert found.keys() == {f"run.h5:/{name}"}
    assert expected in found[f"run.h5:/{name}"]


def test_wall_times_and_the_directory_may_differ(whole: Path, other: Path) -> None:
    with opened(other / "run.h5", "r+") as file:
        one_time(file)
        file["summary/student/seconds"][0] += 1
        started = json.loads(bytes(file.attrs["started"])) | {"run": "/elsewhere"}
        file.attrs["started"] = np.bytes_(json.dumps(started).encode())
    (other / "log.jsonl").write_text("another story\n")
    state = json.loads((other / "state.json").read_text())
    state["row"] |= {"run": "/elsewhere", "name": "elsewhere", "created": 0.0}
    (other / "state.json").write_text(json.dumps(state | {"pid": 1, "born": 0.0}))
    assert differences(whole, other) == {}


def test_a_weight_and_its_metadata_are_compared(whole: Path, other: Path) -> None:
    path = other / "student.safetensors"
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
    tensors = load_file(path)
    name = min(name for name, value in tensors.items() if value.dtype == np.float32 and value.size)
    flat = tensors[name].reshape(-1)
    flat[0] = np.nextafter(flat[0], np.float32(np.inf))
    save_file(tensors, path, about | {"step": "7"})
    assert differences(whole, other).keys() == {
        f"student.safetensors:{name}",
        "student.safetensors:metadata/step",
    }


def test_small_files_and_extra_files_are_compared(whole: Path, other: Path) -> None:
    state = json.loads((other / "state.json").read_text())
    state["row"]["progress"] = 0.5
    (other / "state.json").write_text(json.dumps(state))
    verdict = json.loads((other / "verdict.json").read_text())
    (other / "verdict.json").write_text(json.dumps(verdict | {"seeds": [2]}))
    (other / "run.h5.tmp").write_bytes(b"")
    (other / "baseline.safetensors").unlink()
    assert differences(whole, other).keys() == {
        "state.json:/row/progress",
        "verdict.json:/seeds",
        "run.h5.tmp",
        "baseline.safetensors",
    }


def test_the_compared_run_has_pictures(whole: Path) -> None:
    with opened(whole / "run.h5") as file:
        shapes = {name: file[f"teacher/{name}"].shape[0] for name in ("samples/images", "density/log_prob")}
    assert shapes == {"samples/images": 3, "density/log_prob": 3}
