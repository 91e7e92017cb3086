"""The command line: what it prints, what it leaves, and its exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nfkd
from nfkd.cli import main
from nfkd.config import preset_names
from nfkd.runs.reader import open_run
from tests.core.tiny import moons

COMMAND = [sys.executable, "-m", "nfkd"]


def shell(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    path = tmp_path / "experiment.toml"
    moons().save(path)
    return str(path)


def test_a_run_from_a_file_ends_with_its_table_and_is_listed(experiment: str, tmp_path: Path) -> None:
    done = shell("run", experiment, "--out", str(tmp_path / "runs" / "one"))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for word in ("teacher", "student", "baseline", "nats", "Inconclusive", str(tmp_path / "runs" / "one")):
        assert word in done.stdout
    listed = shell("list", str(tmp_path / "runs"))
    assert "one" in listed.stdout
    assert "finished" in listed.stdout
    shown = shell("show", str(tmp_path / "runs" / "one"))
    summary = open_run(tmp_path / "runs" / "one").summary
    for stage in summary:
        assert f"{stage.parameters:,}" in shown.stdout
        assert f"{stage.test:.4f}" in shown.stdout


def test_a_presets_name_works_where_a_file_does(tmp_path: Path) -> None:
    quick = ["training.teacher_steps=3", "training.student_steps=3", "data.count=200"]
    overrides = [word for assignment in quick for word in ("--set", assignment)]
    done = shell("run", "two_moons", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert open_run(tmp_path / "runs" / "two moons").config.training.teacher_steps == 3


def test_every_preset_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in preset_names())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nothing"], ["nothing", "digits", "two_moons"]),
        (["run", "digits", "--set", "student.hiden=3", "--set", "seeds.count=0"], ["student.hiden", "seeds.count"]),
        (["run", "digits", "--set", "student.levels=1"], ["student.levels", "same number of levels"]),
        (["run", "two_moons", "--resume"], ["--resume", "--out"]),
        (["show", "/nowhere"], ["This is no run", "/nowhere"]),
        (["recover", "/nowhere"], ["This is no run"]),
        (["export", "/nowhere"], ["--csv"]),
        (["export", "/nowhere", "--csv"], ["This is no run"]),
    ],
)
def test_bad_input_is_refused_with_code_2_and_one_message(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)
    assert "Traceback" not in error


def test_usage_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["distil"])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_directory_in_use_is_refused_before_anything_runs(experiment: str, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("")
    done = shell("run", experiment, "--out", str(tmp_path / "notes"))
    assert done.returncode == 2
    assert "not empty" in done.stderr


def test_a_run_that_fails_is_code_1(tmp_path: Path) -> None:
    wild = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "schedule": "constant"}
    config = moons(training=wild | {"teacher_steps": 2000}, teacher={"steps": 12, "hidden": 64})
    config.save(tmp_path / "wild.toml")
    done = shell("run", str(tmp_path / "wild.toml"), "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "diverged at step" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_stops_in_order_and_resume_goes_on(tmp_path: Path) -> None:
    config = moons(training={"teacher_steps": 3000, "student_steps": 5})
    config.save(tmp_path / "long.toml")
    arguments = ["run", str(tmp_path / "long.toml"), "--out", str(tmp_path / "run")]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()  # "Begins on cpu …": the worker is at work
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 0, said + error
    assert "Stopping" in error
    assert open_run(tmp_path / "run").row.state == "stopped"
    done = shell(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert open_run(tmp_path / "run").row.state == "finished"
    assert open_run(tmp_path / "run").curves["teacher"]["train/total"].steps.tolist() == list(range(1, 3001))


def test_resume_says_where_there_is_nothing_to_go_on_with(experiment: str, tmp_path: Path) -> None:
    arguments = ["run", experiment, "--out", str(tmp_path / "new"), "--resume"]
    assert f"{tmp_path / 'new'} holds no run to go on with" in shell(*arguments).stderr
    assert "holds no run" not in shell(*arguments).stderr


def test_export_writes_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nfkd.run(moons(), tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--csv", "--figures"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.split("\n") if line]
    assert {path.suffix for path in written} == {".csv", ".png"}
    assert all(path.stat().st_size > 0 for path in written)
