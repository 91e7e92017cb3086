"""Damaged, foreign and hostile files of runs: one clear error, and no other file is read or written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import nfkd
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.runs.recovery import recover
from tests.core.runs.written import opened
from tests.core.tiny import moons


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    nfkd.run(moons(training={"teacher_steps": 3, "student_steps": 3}), path)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def external_link(file: h5py.File) -> None:
    file["teacher/more"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file: h5py.File) -> None:
    file["teacher/more"] = h5py.SoftLink("/student")


def external_data(file: h5py.File) -> None:
    file.create_dataset("teacher/more", (4,), "f8", external=[("/tmp/elsewhere.bin", 0, 32)])


def virtual_data(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    file.create_virtual_dataset("teacher/more", layout)


@pytest.mark.parametrize("damage", [external_link, soft_link, external_data, virtual_data])
def test_links_and_external_data_are_refused(damage: Callable[[h5py.File], None], run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        damage(file)
    for use in (open_run, recover):
        with pytest.raises(RunError, match="The run was refused") as refused:
            use(run)
        assert "/teacher/more" in refused.value.cause


def huge_dataset(file: Any) -> None:
    file["teacher"].create_dataset("more", (1 << 47,), "f8", chunks=(1024,))


def huge_curve(file: Any) -> None:
    for name in ("step", "value", "time"):
        file[f"teacher/curves/train/total/{name}"].resize((1 << 40,))


@pytest.mark.parametrize("damage", [huge_dataset, huge_curve])
def test_arrays_larger_than_the_file_are_refused(damage: Callable[[Any], None], run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        damage(file)
    with pytest.raises(RunError, match="the arrays claim") as refused:
        open_run(run)
    assert str(run / "run.h5") in refused.value.cause


def test_groups_with_several_names_are_visited_once(run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        inner = file
        for _ in range(40):  # two names at each of forty levels
            following = inner.create_group("a")
            inner["b"] = following
            inner = following
        inner["root"] = file["/"]
    assert open_run(run).curves["teacher"]


def test_newer_formats_and_foreign_files_are_refused(run: Path) -> None:
    with h5py.File(run / "run.h5", "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(RunError, match="newer than the program"):
        open_run(run)
    with h5py.File(run / "run.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RunError, match="not written by NFKD"):
        open_run(run)


DAMAGED_TREES = {
    "a stage is a dataset": lambda file: (file.__delitem__("teacher"), file.create_dataset("teacher", (3,), "f8")),
    "a stage is missing": lambda file: file.__delitem__("student"),
    "a curve is missing": lambda file: file.__delitem__("teacher/curves/train/total/value"),
    "a curve has another rank": lambda file: (
        file.__delitem__("teacher/curves/train/total/step"),
        file.create_dataset("teacher/curves/train/total/step", (2, 2), "i8", chunks=(1, 1)),
    ),
    "the format is not a number": lambda file: file.attrs.__setitem__("format", "new"),
    "the plan is no JSON": lambda file: file.attrs.__setitem__("started", b"{"),
    "the plan is of another kind": lambda file: file.attrs.__setitem__("started", b'{"type": "RunRow"}'),
    "a mode is no text": lambda file: file["teacher/final/interpolation/mode"].__setitem__(0, b"\xff"),
    "the figures are missing": lambda file: file.__delitem__("summary/teacher"),
}


@pytest.mark.parametrize("damage", DAMAGED_TREES.values(), ids=DAMAGED_TREES.keys())
def test_a_damaged_tree_is_refused_in_one_line(damage: Callable[[h5py.File], object], run: Path) -> None:
    with opened(run / "run.h5", "r+") as file:
        damage(file)
    with pytest.raises(RunError) as refused:
        open_run(run)
    assert str(run / "run.h5") in refused.value.cause
    assert "\n" not in refused.value.cause


def test_a_truncated_file_is_refused_in_one_line(run: Path) -> None:
    content = (run / "run.h5").read_bytes()
    for length in (0, 7, 40, 500, 20_000, -1):
        (run / "run.h5").write_bytes(content[:length])
        for use in (open_run, recover):
            with pytest.raises(RunError, match="The run cannot be read") as refused:
                use(run)
            assert str(run / "run.h5") in refused.value.cause
            assert "\n" not in refused.value.cause
        assert (run / "run.h5").read_bytes() == content[:length]


def error_of(run: Path) -> RunError | None:
    try:
        open_run(run).snapshot()
    except RunError as error:
        return error
    return None


FILES = ["run.h5", "run.h5", "run.h5", "state.json", "experiment.toml", "verdict.json", "log.jsonl"]
PATCHES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=16)), max_size=4)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), patches=PATCHES, kept=st.one_of(st.just(1.0), st.floats(0, 1)))
@example(name="run.h5", patches=[(0.0, b"\x00")], kept=1.0)
@example(name="verdict.json", patches=[(0.0, b"[]")], kept=0.0)
@example(name="log.jsonl", patches=[(0.1, b"\xff\n\xff")], kept=1.0)
def test_random_damage_is_one_clear_error_or_none(
    name: str, patches: list[tuple[float, bytes]], kept: float, finished: Path, run: Path
) -> None:
    original = (finished / name).read_bytes()
    content = bytearray(original[: int(kept * len(original))])
    for position, patch in patches:
        # Half of them go into the first kilobytes, where HDF5 has its metadata.
        size, position = (min(len(content), 20_000), position) if position < 0.5 else (len(content), position - 0.5)
        start = int(2 * position * size)
        content[start : start + len(patch)] = patch
    (run / name).write_bytes(content)
    error = error_of(run)
    (run / name).write_bytes(original)
    assert error is None or (error.title and str(run) in error.cause)
