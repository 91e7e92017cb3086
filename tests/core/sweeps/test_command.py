"""``nfkd sweep``: what it prints, several jobs, Ctrl-C, refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from nfkd.cli import main
from nfkd.sweeps import Sweep, estimate_sweep
from nfkd.training.measure_times import measure_times
from tests.core.sweeps.sweeping import GRID, quick, run_all, saved, states, sweep_of

Shell = pytest.CaptureFixture[str]
BROKEN = {"student": {"kind": "glow", "levels": 2}}


def test_a_sweep_prints_its_size_each_run_and_a_sorted_table(tmp_path: Path, capsys: Shell) -> None:
    file = saved(sweep_of({"list": [{"student.hidden": 4}, BROKEN, {"student.hidden": 6}]}), tmp_path)
    assert main(["sweep", file, "--out", str(tmp_path / "sweep")]) == 1  # a run failed
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("3 runs with 1 teacher. Expected time: about ")
    assert "Disk space: about" in lines[0]
    assert lines[4].split()[-3:] == ["NLL,", "nats", "seconds"]
    assert [line.partition("]")[0] for line in lines[1:4]] == ["[1/3", "[2/3", "[3/3"]
    found = [float(line.split()[-2]) for line in lines[5:7]]
    assert found == sorted(found)
    saved_runs = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["runs"]
    best = min((run for run in saved_runs if run["state"] == "finished"), key=lambda run: run["objective"])
    assert lines[7] == f"Best: {tmp_path / 'sweep' / best['name']}"
    assert "will fail" in printed.err
    assert f"{tmp_path / 'sweep' / 'failed'}" in printed.err
    assert "--retry" in printed.err
    assert main(["sweep", file, "--out", str(tmp_path / "sweep")]) == 1
    assert capsys.readouterr().out.startswith("0 runs left (2 done, 1 failed).\n")


def test_a_dry_run_lists_the_runs_and_writes_nothing(tmp_path: Path, capsys: Shell) -> None:
    file = saved(sweep_of(GRID), tmp_path)
    assert main(["sweep", file, "--out", str(tmp_path / "sweep"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "hidden-4_learning_rate-0.001  student.hidden=4  training.learning_rate=0.001" in out
    assert "4 runs with 2 teachers." in out
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_several_jobs_give_the_same_results(tmp_path: Path, capsys: Shell) -> None:
    config = sweep_of({"grid": {"student.hidden": [4, 6, 8]}})
    file = saved(config, tmp_path)
    assert main(["sweep", file, "--out", str(tmp_path / "two"), "--jobs", "2"]) == 0
    assert "2 at a time" in capsys.readouterr().out
    one, two = Sweep(config, tmp_path / "one"), Sweep(config, tmp_path / "two")
    run_all(one)
    two.begin()
    assert states(two) == ["finished"] * 3
    assert [run.objective for run in two.runs] == [run.objective for run in one.runs]


def test_ctrl_c_stops_with_a_checkpoint_and_the_same_command_continues(tmp_path: Path) -> None:
    training = {"teacher_steps": 20, "student_steps": 1_000_000, "checkpoint_every": 1_000_000}
    config = sweep_of({"grid": {"student.hidden": [4, 6]}}, training=training)
    arguments = [sys.executable, "-m", "nfkd", "sweep", saved(config, tmp_path), "--out", str(tmp_path / "sweep")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        state, out = tmp_path / "sweep" / "hidden-4" / "state.json", ""
        while child.poll() is None:  # the teacher is trained
            if state.exists() and json.loads(state.read_text())["row"]["teacher_test"] is not None:
                child.send_signal(signal.SIGINT)
                break
            time.sleep(0.02)  # the child needs the processor
        out = child.communicate(timeout=60)[0]
    assert child.returncode == 130, out
    assert "The same command continues the sweep" in out
    assert json.loads(state.read_text())["row"]["state"] == "stopped"
    sweep = Sweep(config, tmp_path / "sweep")
    sweep.begin()
    assert states(sweep) == ["waiting", "waiting"]
    start = sweep.ask()
    assert start is not None
    assert start.resume


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ('[sweep.grid]\n"student.hiden" = [8]', "the nearest is student.hidden"),
        ('[sweep.grid]\n"student.hidden" = []', "is an empty list"),
        ("", "sweep: is missing: name the runs in [sweep.grid]"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_written(
    sweep: str, expected: str, tmp_path: Path, capsys: Shell
) -> None:
    (tmp_path / "file.toml").write_text(f"{quick().to_toml()}\n{sweep}")
    assert main(["sweep", str(tmp_path / "file.toml"), "--out", str(tmp_path / "sweep")]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (tmp_path / "sweep").exists()


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path, capsys: Shell) -> None:
    (tmp_path / "taken").write_text("")
    file = saved(sweep_of(GRID), tmp_path)
    assert main(["sweep", file, "--out", str(tmp_path / "taken" / "sweep")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nfkd: The sweep cannot be written: {tmp_path / 'taken' / 'sweep'}: Not a directory.")
    assert error.count("\n") == 1


def test_the_expected_size_is_about_that_on_the_disk(tmp_path: Path) -> None:
    sweep = Sweep(sweep_of({"grid": {"student.hidden": [4, 6]}}), tmp_path / "sweep")
    estimate = estimate_sweep(sweep)
    run_all(sweep)
    size = sum(path.stat().st_size for path in (tmp_path / "sweep").rglob("*") if path.is_file())
    assert size / 2 < estimate.size < 2 * size
    assert estimate.free > estimate.size
    assert (estimate.runs, estimate.teachers) == (2, 1)
    left = estimate_sweep(sweep)
    assert (left.runs, left.done, left.seconds, left.size) == (0, 2, 0.0, 0.0)


def test_a_shared_teacher_counts_once_in_the_expected_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = {"teacher_steps": 100_000, "student_steps": 10}
    shared = sweep_of({"grid": {"student.hidden": [4, 6, 8, 10]}}, training=training)
    own = sweep_of({"grid": {"seeds.first": [1, 2, 3, 4]}}, training=training)
    measured = measure_times(shared.experiment(), seconds=0.2)  # once: the machine may be slower the next time
    monkeypatch.setattr("nfkd.sweeps.estimate.measure_times", lambda *_arguments, **_named: measured)
    times = [estimate_sweep(Sweep(config, tmp_path / "sweep")).seconds for config in (shared, own)]
    assert 3.5 < times[1] / times[0] < 4.5


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/b", ".."])
def test_a_state_with_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path, capsys: Shell) -> None:
    config = sweep_of({"grid": {"student.hidden": [4, 6]}})
    file, folder = saved(config, tmp_path), tmp_path / "sweep"
    Sweep(config, folder).begin()
    state = json.loads((folder / "sweep.json").read_text())
    state["runs"][1]["name"] = name
    (folder / "sweep.json").write_text(json.dumps(state))
    assert main(["sweep", file, "--out", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"sweep.json: the name {name} of a run may not" in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == ["sweep.json", "sweep.toml"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://127.0.0.1:1", "127.0.0.1 does not answer at port 1."),
        ("nowhere", "nowhere is no address of Ray."),
        ("ray://me:secret@127.0.0.1", "ray://127.0.0.1 is no address of Ray."),
    ],
)
def test_a_ray_cluster_that_cannot_be_reached_is_refused_before_anything_is_written(
    address: str, message: str, tmp_path: Path, capsys: Shell
) -> None:
    file = saved(sweep_of(GRID), tmp_path)
    assert main(["sweep", file, "--out", str(tmp_path / "sweep"), "--ray", address]) not in {0, 130}
    printed = capsys.readouterr().err
    assert (message if find_spec("ray") else "nfkd[cluster]") in " ".join(printed.split())
    assert "secret" not in printed
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("option", [["--gpus-per-run", "1.5"], ["--cpus-per-run", "0"], ["--retries", "-1"]])
def test_shares_that_ray_does_not_know_are_refused(option: list[str], tmp_path: Path, capsys: Shell) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", "file.toml", "--out", str(tmp_path), *option])
    assert option[0] in capsys.readouterr().err


def test_without_ray_the_message_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfkd.sweeps.ray_cluster.has_ray", lambda: False)
    file = saved(sweep_of(GRID), tmp_path)
    assert main(["sweep", file, "--out", str(tmp_path / "sweep"), "--ray", "local"]) == 2
    assert "Ray is not installed. Install it with: pip install 'nfkd[cluster]'" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()
