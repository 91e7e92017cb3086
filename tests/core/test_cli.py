"""The command line: its output, the files it writes, and its exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from nfkd.cli import format_presets, main
from nfkd.config import preset_names
from nfkd.runs.reader import open_run
from tests.core.tiny import moons

Shell = pytest.CaptureFixture[str]
QUICK = {"teacher_steps": 3, "student_steps": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of `nfkd run` from a file, and what it printed."""
    folder, out, err = tmp_path_factory.mktemp("finished"), StringIO(), StringIO()
    moons().save(folder / "experiment.toml")
    with redirect_stdout(out), redirect_stderr(err):
        assert main(["run", str(folder / "experiment.toml"), "--out", str(folder / "runs" / "one")]) == 0
    assert "Traceback" not in err.getvalue()
    return folder / "runs" / "one", out.getvalue()


@pytest.fixture
def quick(tmp_path: Path) -> str:
    moons(training=QUICK).save(tmp_path / "quick.toml")
    return str(tmp_path / "quick.toml")


def test_a_run_ends_with_its_table(finished: tuple[Path, str]) -> None:
    path, out = finished
    for text in ("teacher", "student", "baseline", "nats", "Inconclusive", str(path)):
        assert text in out


def test_a_search_for_the_weight_decay_has_a_bar_of_its_own(tmp_path: Path, capsys: Shell) -> None:
    moons(training=QUICK | {"optimizer": "adamw", "baseline_search": True}).save(tmp_path / "search.toml")
    assert main(["run", str(tmp_path / "search.toml"), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    bars = [line for line in (printed.out + printed.err).splitlines() if "search for the weight decay" in line]
    assert len(bars) == 1
    assert "9/9" in bars[0]  # three trials of three steps


def test_a_run_is_listed_and_shown(finished: tuple[Path, str], capsys: Shell) -> None:
    path, _ = finished
    assert main(["list", str(path.parent)]) == 0
    listed = capsys.readouterr().out
    assert "one" in listed
    assert "finished" in listed
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    for stage in open_run(path).summary:
        assert f"{stage.parameters:,}" in shown
        assert f"{stage.test:.4f}" in shown


def test_export_writes_tables_and_figures(finished: tuple[Path, str], capsys: Shell) -> None:
    assert main(["export", str(finished[0]), "--csv", "--figures"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.split("\n") if line]
    assert {path.suffix for path in written} == {".csv", ".png"}
    assert all(path.stat().st_size > 0 for path in written)


def test_a_preset_runs_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shell) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = [f"training.{name}={value}" for name, value in QUICK.items()] + ["data.count=200"]
    assert main(["run", "two_moons", *(word for override in overrides for word in ("--set", override))]) == 0
    assert open_run(tmp_path / "runs" / "two moons").config.training.teacher_steps == 3
    del capsys


def test_every_preset_is_listed(capsys: Shell) -> None:
    assert main(["presets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in preset_names())


@pytest.mark.parametrize("width", [30, 50, 63, 64, 80, 132])
def test_a_preset_and_its_description_are_apart_in_any_width(width: int) -> None:
    presets = {"digits": "Glow on digits.", "natural_patches_all": "One of two words " * 8}
    lines = format_presets(presets, width).split("\n")
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == [word for pair in presets.items() for text in pair for word in text.split()]
    starts = [line for line in lines if not line.startswith(" ")]
    assert [line.split()[0] for line in starts] == list(presets)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "nothing"], ["nothing", "digits", "two_moons"]),
        (["run", "digits", "--set", "student.hiden=3", "--set", "seeds.count=0"], ["student.hiden", "seeds.count"]),
        (["run", "digits", "--set", "student.levels=1"], ["student.levels", "same number of levels"]),
        (["run", "two_moons", "--resume"], ["--resume", "--out"]),
        (["show", "/nowhere"], ["This is not a run", "/nowhere"]),
        (["recover", "/nowhere"], ["This is not a run"]),
        (["export", "/nowhere"], ["--csv"]),
        (["export", "/nowhere", "--csv"], ["This is not a run"]),
    ],
)
def test_bad_input_is_refused_with_code_2_and_one_message(
    arguments: list[str], expected: list[str], capsys: Shell
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert all(text in error for text in expected)
    assert "Traceback" not in error


def test_a_wrong_command_is_code_2(capsys: Shell) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["distil"])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_directory_in_use_is_refused_before_anything_runs(quick: str, tmp_path: Path, capsys: Shell) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("")
    assert main(["run", quick, "--out", str(tmp_path / "notes")]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_run_that_fails_is_code_1(tmp_path: Path, capsys: Shell) -> None:
    wild = {"learning_rate": 1.0, "gradient_clip": 0.0, "warmup_steps": 0, "schedule": "constant"}
    config = moons(training=wild | {"teacher_steps": 2000}, teacher={"steps": 12, "hidden": 64})
    config.save(tmp_path / "wild.toml")
    assert main(["run", str(tmp_path / "wild.toml"), "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "diverged at step" in error
    assert "Traceback" not in error


def test_ctrl_c_stops_a_run_and_resume_finishes_it(tmp_path: Path, capsys: Shell) -> None:
    steps = 300
    config = moons(
        training={"teacher_steps": steps, "student_steps": 3, "checkpoint_every": steps},
        monitor={"evaluate_every": steps, "pictures_every": steps},
    )
    config.save(tmp_path / "long.toml")
    arguments = ["run", str(tmp_path / "long.toml"), "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "nfkd", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()  # "Started on cpu …": the training thread has started
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130, line + error
    assert "Stopping" in error
    assert f"--out {tmp_path / 'run'} --resume" in error
    assert open_run(tmp_path / "run").row.state == "stopped"
    assert main([*arguments, "--resume"]) == 0
    record = open_run(tmp_path / "run")
    assert record.row.state == "finished"
    assert record.curves["teacher"]["train/total"].steps.tolist() == list(range(1, steps + 1))
    del capsys


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["run", "two_moons"], "nfkd.console.run_in_terminal"),
        (["run", "two_moons", "--fetch"], "nfkd.data_commands.fetch_missing"),
        (["data", "show", "digits"], "nfkd.data_commands.preview_dataset"),
        (["data", "fetch", "mnist"], "nfkd.data_commands.fetch_dataset"),
        (["show", "run"], "nfkd.runs.reader.open_run"),
        (["inspect", "two_moons"], "nfkd.evaluation.inspect_target.inspect_target"),
    ],
)
def test_any_command_that_ctrl_c_ends_is_code_130(
    arguments: list[str], called: str, monkeypatch: pytest.MonkeyPatch, capsys: Shell
) -> None:
    def interrupted(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(called, interrupted)
    assert main(arguments) == 130
    assert capsys.readouterr().err == "nfkd: interrupted\n"


def test_resume_starts_a_new_run_where_there_is_none_and_says_so(quick: str, tmp_path: Path, capsys: Shell) -> None:
    arguments = ["run", quick, "--out", str(tmp_path / "new"), "--resume"]
    assert main(arguments) == 0
    assert f"{tmp_path / 'new'} has no run to resume" in capsys.readouterr().err
    assert main(arguments) == 0
    assert "no run to resume" not in capsys.readouterr().err
