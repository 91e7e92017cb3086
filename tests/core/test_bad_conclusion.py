"""Bad input to lists, comparisons, evaluations, sweeps and reports: one message that says what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import nfkd
from nfkd.cli import main
from nfkd.evaluation.comparison import ComparedRun
from nfkd.runs.errors import RunError
from tests.core.sweeps.sweeping import GRID, quick, saved, sweep_of
from tests.core.tiny import moons

Shell = pytest.CaptureFixture[str]
TRAINING = {"teacher_steps": 4, "student_steps": 4, "batch_size": 16, "baseline": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two moons, and of a table before and after it was changed."""
    folder = tmp_path_factory.mktemp("bad")
    nfkd.run(moons(training=TRAINING), folder / "runs" / "moons")
    for name in ("before", "after"):
        values = np.random.default_rng(len(name)).normal(size=(120, 3))
        np.savetxt(folder / "values.csv", values, delimiter=",", header="a,b,c", comments="")
        data = {"kind": "table", "path": str(folder / "values.csv")}
        nfkd.run(moons(data=data, training=TRAINING), folder / "runs" / name)
    return folder / "runs"


def refused(capsys: Shell, *arguments: str) -> str:
    """Call a command that refuses its input, and return its one line."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("nfkd: ")
    assert (error.count("\n"), "Traceback" in error) == (1, False), error
    return error


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compare {0}/moons {0}/before", "moons has data.kind = 'two_moons', before has 'table': their figures cannot"),
        ("compare {0}/before {0}/after", "before and after have the same settings, but their data had other values"),
        ("compare {0}/before {0}/gone", "gone has no state.json. Name a run's directory."),
        ("evaluate {0}/before --data two_moons", "An example of two moons has 2 values, one of values.csv 3."),
        ("evaluate {0}/before {0}/moons --data validation", "data.kind = 'table', moons has 'two_moons'"),
        ("evaluate {0}/moons --metrics c2st --samples 30", "30 examples and samples are compared, and at least 40 are"),
        ("evaluate {0}/before --metrics c2st", "18 examples and samples are compared, and at least 40 are needed"),
        ("evaluate {0}/moons --metrics inception", "--metrics: there is no metric inception"),
        ("evaluate {0}", "has no experiment.toml. Name a run's directory."),
        ("report {0}/moons --out {0}/moons/state.json/x.html", "nfkd: The report cannot be written: "),
        ("report {0}/moons --out {0}/moons/state.json/x.pdf", "nfkd: The report cannot be written: "),
        ("list {0} --where seeds<3_or", "the filter cannot be read near '_or'; write for example"),
        ("list {0} --where name<3.5", "'after' and 3.5 cannot be ordered: one is a number, the other a text"),
    ],
)
def test_it_is_refused_in_one_line(runs: Path, capsys: Shell, command: str, message: str) -> None:
    assert message in refused(capsys, *(part.format(runs) for part in command.split()))


@pytest.mark.parametrize(
    "text", ["(" * 990 + "1 == 1" + ")" * 990, "not " * 490 + "true", "a" * 2001, "-" * 1500 + "1 == 1"]
)
def test_long_filters_are_refused(runs: Path, capsys: Shell, text: str) -> None:
    assert refused(capsys, "list", str(runs), "--where", text).startswith("nfkd: the filter ")


def test_ten_thousand_combinations_are_refused_before_anything_is_written(tmp_path: Path, capsys: Shell) -> None:
    rates = [round(1e-4 * number, 6) for number in range(1, 101)]
    file = saved(sweep_of({"grid": {"student.hidden": list(range(1, 101)), "training.learning_rate": rates}}), tmp_path)
    error = refused(capsys, "sweep", file, "--out", str(tmp_path / "sweep"))
    assert (
        "the sweep has 10,000 runs, and at most 1,000 are allowed: remove values, or set sweep.limit = 10000" in error
    )
    assert not (tmp_path / "sweep").exists()


def test_a_field_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path, capsys: Shell) -> None:
    (tmp_path / "file.toml").write_text(f'{quick().to_toml()}\n[sweep.grid]\n"student.hiddn" = [4]\n')
    error = refused(capsys, "sweep", str(tmp_path / "file.toml"), "--out", str(tmp_path / "sweep"))
    assert "student.hiddn: there is no such field; the nearest is student.hidden" in error


def test_an_experiment_without_a_sweep_is_refused(tmp_path: Path, capsys: Shell) -> None:
    (tmp_path / "file.toml").write_text(quick().to_toml())
    error = refused(capsys, "sweep", str(tmp_path / "file.toml"), "--out", str(tmp_path / "sweep"))
    assert "sweep: is missing: name the runs in [sweep.grid], [[sweep.list]] or [sweep.search]" in error


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sweep.toml", "sweep = [", "The folder's own file was changed: restore it, or give a new folder."),
        ("sweep.toml", "name = 'x'", "The folder's own file was changed: restore it, or give a new folder."),
        ("sweep.json", "[]", "sweep.json; the runs in the folder are then looked up again."),
    ],
)
def test_files_of_a_sweep_that_were_edited(tmp_path: Path, capsys: Shell, name: str, text: str, message: str) -> None:
    config = sweep_of(GRID)
    from nfkd.sweeps import Sweep

    Sweep(config, tmp_path / "sweep").begin()
    (tmp_path / "sweep" / name).write_text(text)
    assert message in refused(capsys, "sweep", saved(config, tmp_path), "--out", str(tmp_path / "sweep"))


def test_a_run_that_was_removed_during_a_comparison(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "moons", tmp_path / "run"))
    first = ComparedRun.read(run)
    shutil.rmtree(run)
    with pytest.raises(RunError, match=r"has no state\.json"):
        ComparedRun.read(run)
    assert first.figures("test")


def test_labels_that_are_too_large_are_named_and_the_run_is_listed(runs: Path, tmp_path: Path, capsys: Shell) -> None:
    run = Path(shutil.copytree(runs / "moons", tmp_path / "run"))
    (run / "labels.json").write_text(json.dumps({"note": "x" * 1_000_000, "tags": ["a"] * 10_000}))
    assert main(["list", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "two moons" in captured.out
    assert "labels.json is larger than 65,536 bytes. Correct or delete the file." in captured.err


def test_a_damaged_evaluation_stops_a_comparison_but_no_report(runs: Path, tmp_path: Path, capsys: Shell) -> None:
    run = Path(shutil.copytree(runs / "moons", tmp_path / "run"))
    (run / "evaluation.json").write_text('{"evaluations": [')
    error = refused(capsys, "compare", str(run), str(runs / "moons"))
    assert "evaluation.json is damaged or was not written by NFKD. Delete it and call nfkd evaluate again." in error
    assert main(["report", str(run)]) == 0


def test_a_sweep_into_the_folder_of_a_run(runs: Path, tmp_path: Path, capsys: Shell) -> None:
    file = saved(sweep_of(GRID), tmp_path)
    error = refused(capsys, "sweep", file, "--out", str(runs / "moons"))
    assert "moons is not empty and has no sweep.toml. Give a new folder." in error
