"""``nfkd list`` over runs that were never trained, and ``nfkd compare`` over small ones that were."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

import nfkd
from nfkd.cli import main
from nfkd.runs.layout import create_run
from nfkd.runs.reader import open_run
from nfkd.runs.state import read_row, write_row
from tests.core.tiny import moons

Shell = pytest.CaptureFixture[str]
FIGURES = {"a & b": (8, 2.5, "better"), "wide_1": (16, 2.25, "worse"), "wide_2": (16, 2.75, ""), "none": (32, None, "")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, (hidden, test, verdict) in FIGURES.items():
        run = create_run(folder, moons(name=name, student={"hidden": hidden}), teacher="T", student="S")
        row = msgspec.structs.replace(read_row(run), student_test=test, verdict=verdict, state="finished")
        write_row(run, row)
    return folder


def listed(folder: Path, shell: Shell, *options: str) -> list[dict[str, Any]]:
    assert main(["list", str(folder), "--format", "json", *options]) == 0
    return json.loads(shell.readouterr().out)


def test_a_filter_over_settings_and_figures(folder: Path, capsys: Shell) -> None:
    rows = listed(
        folder, capsys, "--where", "student.hidden >= 16 and student_test < 2.5", "--columns", "name,student.hidden"
    )
    assert rows == [{"name": "wide_1", "student.hidden": 16}]
    assert listed(folder, capsys, "--where", 'name ~ "zzz"') == []


def test_rows_are_sorted_and_those_without_a_value_come_last(folder: Path, capsys: Shell) -> None:
    up = [row["name"] for row in listed(folder, capsys, "--sort", "student_test")]
    down = [row["name"] for row in listed(folder, capsys, "--sort=-student_test")]
    assert up == ["wide_1", "a & b", "wide_2", "none"]
    assert down == ["wide_2", "a & b", "wide_1", "none"]


def test_groups_have_means_and_deviations(folder: Path, capsys: Shell) -> None:
    rows = listed(folder, capsys, "--group", "student.hidden", "--columns", "student_test")
    assert [row["student.hidden"] for row in rows] == [8, 16, 32]
    assert [row["runs"] for row in rows] == [1, 2, 1]
    most = listed(folder, capsys, "--group", "student.hidden", "--columns", "student_test", "--sort=-runs")
    assert most[0]["student.hidden"] == 16
    assert rows[1]["student_test"] == statistics.fmean([2.25, 2.75])
    assert rows[1]["student_test sd"] == pytest.approx(statistics.stdev([2.25, 2.75]))
    assert (rows[0]["student_test sd"], rows[2]["student_test"]) == (None, None)


def test_csv_markdown_and_latex(folder: Path, capsys: Shell) -> None:
    options = ["list", str(folder), "--columns", "name,student_test", "--sort", "name", "--format"]
    assert main([*options, "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows] == sorted(FIGURES)
    assert [row["student_test"] for row in rows] == ["2.5", "", "2.25", "2.75"]
    assert main([*options, "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == ["| name | student_test |", "| --- | --- |", "| a & b | 2.5 |"]
    assert main([*options, "latex"]) == 0
    latex = capsys.readouterr().out
    assert r"a \& b & 2.5 \\" in latex
    assert r"wide\_1 & 2.25 \\" in latex
    assert r"\begin{tabular}{lr}" in latex


def test_a_table_shows_what_is_usual(folder: Path, capsys: Shell) -> None:
    assert main(["list", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in FIGURES)
    assert "better" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "student.hiden < 3"], "no run has a column or setting student.hiden; do you mean student.hidden?"),
        (["--where", "os.system('x')"], "is not possible in a filter"),
        (["--where", 'student_test < "x"'], "cannot be ordered"),
        (["--sort", "studnet_test"], "do you mean student_test?"),
        (["--columns", "name,nothing"], "no run has a column or setting nothing"),
        (
            ["--group", "student.hidden", "--sort", "verdict"],
            "--sort: groups have only student.hidden, runs, student_test",
        ),
        (["--group", "x\x1b[2Jy"], "no run has a column or setting x"),
    ],
)
def test_bad_options_are_refused(folder: Path, capsys: Shell, options: list[str], message: str) -> None:
    assert main(["list", str(folder), *options]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "\x1b" not in shown


def test_a_broken_run_is_named_and_the_others_are_listed(folder: Path, tmp_path: Path, capsys: Shell) -> None:
    copied = tmp_path / "runs"
    broken = create_run(copied, moons(name="broken"), teacher="T", student="S")
    create_run(copied, moons(name="whole"), teacher="T", student="S")
    (broken / "experiment.toml").write_text("name =")
    rows = listed(copied, capsys, "--where", "student.hidden > 0", "--columns", "name")
    assert rows == [{"name": "whole"}]
    (broken / "state.json").write_text("{")
    assert main(["list", str(copied)]) == 0
    captured = capsys.readouterr()
    assert "whole" in captured.out
    assert "broken" in captured.err


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two finished runs of three seeds, and one of other data."""
    folder, paths = tmp_path_factory.mktemp("compared"), []
    training = {"teacher_steps": 4, "student_steps": 4, "batch_size": 16}
    for name, changes in (("narrow", {}), ("wide", {"student": {"hidden": 12}}), ("more", {"data": {"count": 300}})):
        path = folder / name
        nfkd.run(moons(name=name, training=training, seeds={"count": 3 if name != "more" else 1}, **changes), path)
        paths.append(str(path))
    return paths


def test_runs_are_compared(compared: list[str], capsys: Shell) -> None:
    assert main(["compare", *compared[:2], "--format", "json"]) == 0
    rows = {(row["name"], row["run"]): row for row in json.loads(capsys.readouterr().out)}
    assert [rows["student.hidden", name]["value"] for name in ("narrow", "wide")] == [4, 12]
    tests = [stage.summary.test for stage in open_run(compared[1]).snapshot().stages
             if stage.summary is not None and stage.summary.stage == "student"]  # fmt: skip
    likelihood = rows["test likelihood", "wide"]
    assert (likelihood["unit"], likelihood["seeds"], likelihood["common_seeds"]) == ("nats", 3, 3)
    assert likelihood["value"] == pytest.approx(statistics.fmean(tests), rel=1e-12)
    assert likelihood["half"] == pytest.approx(4.302653 * statistics.stdev(tests) / 3**0.5, rel=1e-6)
    assert main(["compare", *compared[:2], "--format", "markdown"]) == 0
    shown = {
        cells[1].strip(): cells[2:4] for line in capsys.readouterr().out.splitlines() if (cells := line.split("|"))
    }
    assert [cell.strip() for cell in shown["seeds"]] == ["3", "3"]
    assert shown["test likelihood, nats"][1].strip() == f"{statistics.fmean(tests):.4f} ± {likelihood['half']:.4f}"
    assert shown["difference to (1)"][0].strip() == "–"


def test_many_runs_are_compared_in_parts_that_fit(
    compared: list[str], capsys: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfkd.terminal._PIPED_WIDTH", 80)
    assert main(["compare", *compared[:2] * 4]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split() for line in lines if "(" in line and "difference" not in line]
    assert " ".join(word for head in heads for word in head).split() == [
        word for number in range(1, 9) for word in (("wide", "narrow")[number % 2], f"({number})")
    ]
    assert len(heads) > 1
    assert [line.split()[0] for line in lines].count("student.hidden") == len(heads) if all(lines) else True
    assert sum(line.startswith("student.hidden") for line in lines) == len(heads)


def test_latex_of_a_comparison_needs_no_special_letters(compared: list[str], capsys: Shell) -> None:
    assert main(["evaluate", compared[0], "--metrics", "calibration", "--samples", "0"]) == 0
    capsys.readouterr()
    assert main(["compare", *compared[:2], "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.isascii()
    assert r"\quad difference to (1) & -- &" in latex
    assert r"$\Vert$z$\Vert$$^2$ against $\chi$$^2$, evaluated &" in latex


def test_csv_has_whole_numbers_and_no_formulas(folder: Path, tmp_path: Path, capsys: Shell) -> None:
    run = create_run(tmp_path, moons(name="=1+1"), teacher="T", student="S")
    assert run.name == "=1+1"
    assert main(["list", str(tmp_path), "--columns", "name,student.hidden", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["name,student.hidden", "'=1+1,4"]


def test_a_table_without_rows_says_why(folder: Path, tmp_path: Path, capsys: Shell) -> None:
    assert main(["list", str(folder), "--where", 'name == "other"']) == 0
    assert main(["list", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [f"None of 4 runs in {folder} passes the filter", f"No runs in {tmp_path}"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [([0], "give at least two runs"), ([0, 2], "narrow has data.count = 400, more has 300")],
)
def test_runs_that_cannot_be_compared_are_refused(
    compared: list[str], capsys: Shell, chosen: list[int], message: str
) -> None:
    assert main(["compare", *(compared[index] for index in chosen)]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_run_is_refused(compared: list[str], capsys: Shell) -> None:
    assert main(["compare", compared[0], "/nowhere/run"]) == 2
    assert "/nowhere/run" in capsys.readouterr().err
