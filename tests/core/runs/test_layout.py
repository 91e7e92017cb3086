"""Directories, states, names, deletion, locks, verdicts and weights of runs."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

import nfkd
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.verdict import interval_of, judge
from nfkd.flows.architectures import build_flow
from nfkd.protocol.events import ErrorInfo, Verdict
from nfkd.protocol.records import MetricInterval
from nfkd.runs.deleting import delete_run
from nfkd.runs.errors import RunError
from nfkd.runs.layout import create_run, create_run_at, list_runs, read_config, rename_run, seed_directory
from nfkd.runs.lock import run_lock
from nfkd.runs.state import read_row, write_row
from nfkd.runs.verdict_file import read_verdict, write_verdict
from nfkd.runs.weights import load_weights, save_weights
from tests.core.tiny import moons


def make(folder: Path, **changes: object) -> Path:
    return create_run(folder, moons(**changes), teacher="Glow-1D 3", student="Glow-1D 2")


def test_names_are_made_unique_and_the_experiment_is_saved(tmp_path: Path) -> None:
    paths = [make(tmp_path / "deep" / "runs") for _ in range(3)]
    assert [path.name for path in paths] == ["tiny moons", "tiny moons-2", "tiny moons-3"]
    assert read_config(paths[1]) == moons()
    row = read_row(paths[1])
    assert (row.state, row.run, row.teacher) == ("queued", str(paths[1]), "Glow-1D 3")


def test_the_row_names_the_data_by_its_file_or_its_kind(tmp_path: Path) -> None:
    assert read_row(make(tmp_path)).data == "two moons"
    table = make(tmp_path, data={"kind": "table", "path": str(tmp_path / "jets.csv")})
    assert read_row(table).data == "jets.csv"


def test_each_seed_of_several_has_its_own_directory(tmp_path: Path) -> None:
    path = make(tmp_path, seeds={"count": 3, "first": 7})
    assert (path / "group.toml").is_file()
    assert sorted(child.name for child in path.iterdir() if child.is_dir()) == ["seed-7", "seed-8", "seed-9"]
    single = make(tmp_path)
    assert seed_directory(single, moons(), 1) == single


def test_runs_are_listed_newest_first_and_unreadable_ones_are_named(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    write_row(first, msgspec.structs.replace(read_row(first), created=1.0))
    broken = make(tmp_path)
    (broken / "state.json").write_text("{")
    (tmp_path / "no run").mkdir()
    rows, unreadable = list_runs(tmp_path)
    assert [row.run for row in rows] == [str(second), str(first)]
    assert len(unreadable) == 1
    assert str(broken) in unreadable[0]
    assert list_runs(tmp_path / "nowhere") == ([], [])
    with pytest.raises(RunError, match="cannot be listed"):
        list_runs(first / "state.json")


def test_a_run_whose_process_has_ended_is_interrupted(tmp_path: Path) -> None:
    path = make(tmp_path)
    write_row(path, msgspec.structs.replace(read_row(path), state="running"))
    assert read_row(path).state == "running"  # by this process
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | {"born": state["born"] - 100}))  # a reused PID
    assert read_row(path).state == "interrupted"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (path / "state.json").write_text(json.dumps(state | {"pid": ended.pid}))
    assert read_row(path).state == "interrupted"
    assert "Resume" in read_row(path).cause


def test_without_room_for_a_new_state_file_the_old_one_is_overwritten(tmp_path: Path) -> None:
    path = make(tmp_path)
    write_row(path, msgspec.structs.replace(read_row(path), state="running", cause="a" * 100))
    (path / "state.json.tmp").mkdir()  # as on a full disk, nothing new can be written
    error = ErrorInfo(title="The disk is full", cause="no room", action="Free some.", traceback="line\n" * 10_000)
    for cause in ("The disk is full. " * 20, "short"):
        write_row(path, msgspec.structs.replace(read_row(path), state="failed", cause=cause), error)
        state = json.loads((path / "state.json").read_text())
        assert (state["row"]["state"], state["row"]["cause"]) == ("failed", cause)
        assert (state["error"]["title"], state["error"]["traceback"]) == ("The disk is full", "")
        assert read_row(path).cause == cause


def test_renaming(tmp_path: Path) -> None:
    path, other = make(tmp_path), make(tmp_path)
    write_row(path, msgspec.structs.replace(read_row(path), state="finished"))
    for bad in ("", "  ", ".hidden", "a/b", "a\\b", 'a"b'):
        with pytest.raises(RunError, match="cannot be renamed"):
            rename_run(path, bad)
    with pytest.raises(RunError, match="already"):
        rename_run(path, other.name)
    moved = rename_run(path, "the good one")
    assert not path.exists()
    assert read_row(moved).name == "the good one"
    assert read_row(moved).run == str(moved)


linux = pytest.mark.skipif(sys.platform != "linux", reason="the trash of the freedesktop.org specification")


@pytest.fixture
def trash() -> Path:
    """Return the folder of deleted files, in the tests' own data directory."""
    path = Path(os.environ["XDG_DATA_HOME"]) / "Trash"
    shutil.rmtree(path, ignore_errors=True)
    return path / "files"


def finished_run(folder: Path, **changes: object) -> Path:
    path = make(folder, **changes)
    write_row(path, msgspec.structs.replace(read_row(path), state="finished"))
    return path


@linux
def test_deleting_a_run_leaves_other_files_where_they_are(trash: Path, tmp_path: Path) -> None:
    path = finished_run(tmp_path / "runs", seeds={"count": 2})
    own = [
        "seed-1/run.h5",
        "evaluation.json",
        "seed-1/teacher.safetensors",
        "seed-2/checkpoint.safetensors",
        "csv/seed-1-teacher-curves.csv",
    ]
    others = ["thesis.docx", "seed-1/notes.txt", "csv/mine.csv", "own/state.json"]
    for name in (*own, *others):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "state.json").write_text("precious")
    (path / "seed-3").symlink_to(tmp_path / "elsewhere")
    stay = ["csv/mine.csv", "own", "seed-1/notes.txt", "seed-3", "thesis.docx"]
    assert delete_run(path) == [path / name for name in stay]
    left = {str(item.relative_to(path)) for item in path.rglob("*") if not item.is_dir() or item.is_symlink()}
    assert left == {*others, "seed-3"}
    assert (tmp_path / "elsewhere" / "state.json").read_text() == "precious"
    assert not (path / "seed-2").exists()
    assert {"state.json", "experiment.toml", "group.toml", "run.h5"} <= {item.name for item in trash.iterdir()}


@linux
def test_deleting_a_link_to_a_run_leaves_the_run(trash: Path, tmp_path: Path) -> None:
    path, link = finished_run(tmp_path / "elsewhere"), tmp_path / "runs" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    assert delete_run(link) == []
    assert not link.is_symlink()
    assert [item.name for item in trash.iterdir()] == ["link"]
    assert read_row(path).state == "finished"


@linux
def test_deleting_moves_a_run_to_the_trash_and_refuses_other_directories(trash: Path, tmp_path: Path) -> None:
    path = finished_run(tmp_path / "runs")
    assert delete_run(path) == []
    assert not path.exists()
    assert read_config(trash / path.name) == moons()
    other = tmp_path / "runs" / "letters"
    other.mkdir()
    for directory in (other, path):
        with pytest.raises(RunError, match="This is not a run"):
            delete_run(directory)
    assert other.is_dir()


def test_a_run_is_not_created_at_or_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run", tmp_path / "file"):
        for create in (create_run_at, create_run):
            with pytest.raises(RunError, match="cannot be created"):
                create(path, moons(), teacher="", student="")


def test_a_lock_excludes_another_process_and_ends_with_it(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from nfkd.runs.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="The run is in use"), run_lock(tmp_path):
            pass
        process.kill()
    with run_lock(tmp_path):
        pass


@pytest.mark.parametrize("seeds", [0, 1, 4])
def test_a_verdict_is_read_as_written_with_nan(seeds: int, tmp_path: Path) -> None:
    student = {seed: 1.0 + 0.01 * seed for seed in range(seeds)}
    baseline = dict.fromkeys(range(seeds), 1.1)
    metric = METRICS["c2st"]
    others = [interval_of(student, baseline, metric=metric, unit="")]
    verdict = judge(student, baseline, metric=METRICS["likelihood"], unit="nats", one_teacher=True, others=others)
    write_verdict(tmp_path, verdict)
    read = read_verdict(tmp_path)
    assert read is not None
    assert_equal(read, verdict)
    assert_equal(read.others[0], verdict.others[0])


def assert_equal(read: Verdict | MetricInterval, written: Verdict | MetricInterval) -> None:
    for name in written.__struct_fields__:
        value, expected = getattr(read, name), getattr(written, name)
        assert name == "others" or value == expected or (math.isnan(value) and math.isnan(expected))


def test_a_verdict_of_an_older_version_without_others_is_read(tmp_path: Path) -> None:
    verdict = judge({1: 1.0}, {1: 2.0}, metric=METRICS["likelihood"], unit="nats", one_teacher=True)
    write_verdict(tmp_path, verdict)
    values = json.loads((tmp_path / "verdict.json").read_text())
    del values["others"]
    (tmp_path / "verdict.json").write_text(json.dumps(values))
    read = read_verdict(tmp_path)
    assert read is not None
    assert read.others == []
    assert_equal(read, verdict)


def test_a_damaged_verdict_is_reported_and_a_missing_one_is_none(tmp_path: Path) -> None:
    assert read_verdict(tmp_path) is None
    for text in ("[1, null]", "{", "", '{"a":' * 100_000):
        (tmp_path / "verdict.json").write_text(text)
        with pytest.raises(RunError, match="The verdict cannot be read") as refused:
            read_verdict(tmp_path)
        assert str(tmp_path / "verdict.json") in refused.value.cause


def test_weights_are_plain_safetensors(tmp_path: Path) -> None:
    flow = build_flow(moons().student, (2,))
    save_weights(tmp_path / "w.safetensors", flow.state_dict(), moons().to_toml(), {"stage": "student"})
    read = load_file(tmp_path / "w.safetensors")
    assert read.keys() == flow.state_dict().keys()
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_error_names_tensors_that_do_not_fit(tmp_path: Path) -> None:
    flow = build_flow(moons().student, (2,))
    state = {name: value.clone() for name, value in flow.state_dict().items()}
    path = tmp_path / "w.safetensors"
    first = next(iter(sorted(state)))
    save_file({name: value for name, value in state.items() if name != first}, path)
    with pytest.raises(RunError, match=f"lacks {first}"):
        load_weights(path, flow)
    save_file(state | {"extra": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="has the unknown extra"):
        load_weights(path, flow)
    save_file(state | {first: torch.zeros(9, 9)}, path)
    with pytest.raises(RunError, match=f"has {first} in another shape"):
        load_weights(path, flow)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(RunError, match="cannot be read"):
        load_weights(path, flow)


def test_importing_nfkd_does_not_import_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, nfkd; nfkd.ExperimentConfig.load('digits'); print('torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"
    assert nfkd.build_flow is build_flow
