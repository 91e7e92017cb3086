"""Columns of the table of runs: titles, decimals, and the table as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfkd.config import ExperimentConfig
from nfkd.protocol.comparing import SeedValues
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.model.run_columns import DEFAULT, FIRST, describe_column, format_of, titles_of
from nfkd_gui.model.run_groups import RunGroup, count_folders, is_in_folder, make_group
from nfkd_gui.model.runs_export import latex_table, markdown_table, numbers_table
from tests.gui.scripted_engine import row_of

TESTS = ([2.0, 2.1, 2.6], [3.0, 3.3, 3.3])


def group(name: str, seeds: list[float] = [], **values: Any) -> RunGroup:  # noqa: B006 - it is not changed
    """Return a group of one run, with the test of each seed."""
    row = row_of(f"/runs/{name}", "finished", seeds=len(seeds))
    figures = [SeedValues(seed=number, values={"student_test": test}) for number, test in enumerate(seeds, start=1)]
    mean = {"student_test": float(np.mean(seeds))} if seeds else {}
    return make_group([row], {"name": name, **mean, **values}, {row.run: figures})


def test_titles_come_from_the_fields_of_the_configuration() -> None:
    column = describe_column("student.hidden")
    assert column.title.startswith("Hidden")
    assert column.long_title == f"Student › {column.title}"
    assert column.tip
    titles = titles_of(["student.hidden", "teacher.hidden", "student.steps"])
    assert titles[0] != titles[1]
    assert titles[0].startswith("Student")
    assert describe_column("student_fd").title == "FD-local"
    assert describe_column("teacher_test").title == "Teacher test NLL"
    assert describe_column("quite_new").title == "quite new"
    assert describe_column("no.such.path").title == "no.such.path"


def test_every_setting_of_an_experiment_has_a_title() -> None:
    def paths(table: dict[str, Any], above: str = "") -> Any:
        for key, value in table.items():
            path = f"{above}.{key}" if above else key
            yield from paths(value, path) if isinstance(value, dict) else [path]

    for preset in ("digits", "pinwheel_few"):
        for path in paths(ExperimentConfig.load(preset).model_dump(mode="json")):
            assert describe_column(path).title != path or "." not in path, path


def test_the_default_columns_are_the_same_in_both_orders() -> None:
    assert set(DEFAULT) == set(FIRST)


@pytest.mark.parametrize(
    ("name", "values", "texts"),
    [
        ("training.learning_rate", [0.001, 0.0003, 0.01], ["0.0010", "0.0003", "0.0100"]),
        ("student.hidden", [64.0, 128.0], ["64", "128"]),
        ("student_sw", [0.0384, 0.0412, 0.0501], ["0.038", "0.041", "0.050"]),
        ("student_fd", [19.66, 23.31, 9.0], ["19.7", "23.3", "9.0"]),
        ("student_mmd", [0.00031, 0.00042], ["0.00031", "0.00042"]),
        ("gap_closed", [-0.06, 1.37], ["−6", "137"]),
        ("student_parameters", [38_600.0, 15_500.0], ["38.6 k", "15.5 k"]),
        ("seconds", [302.0, 4000.0], ["5:02", "1:06:40"]),
        ("distillation.matching.on", [True, False], ["yes", "no"]),
        ("loss", ["NLL 1", None], ["NLL 1", ""]),
    ],
)
def test_numbers_of_a_column_have_equal_decimals(name: str, values: list[Any], texts: list[str]) -> None:
    groups = [group(f"r{number}", **{name: value}) for number, value in enumerate(values)]
    shown = format_of(name, groups)
    assert [shown.text(each.values[name]) for each in groups] == texts
    assert shown.numeric == all(type(value) is float for value in values)
    assert not shown.equal


def test_a_column_knows_that_all_are_equal_and_that_it_has_deviations() -> None:
    groups = [group(f"r{n}", tests, data="digits") for n, tests in enumerate(TESTS)]
    assert format_of("data", groups).equal
    assert not format_of("data", groups[:1]).equal
    shown = format_of("student_test", groups)
    assert shown.deviations
    assert shown.deviation(groups[0].deviations["student_test"]) == f"± {np.std(TESTS[0], ddof=1):.3f}"


def test_a_csv_file_has_all_digits_of_means_and_deviations(tmp_path: Path) -> None:
    groups = [group(f"r{n}", tests, **{"student.hidden": 64.0}) for n, tests in enumerate(TESTS)]
    write_csv(tmp_path / "runs.csv", numbers_table(groups, ["name", "student_test", "student.hidden"]))
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["student_test"]) for row in rows] == [float(np.mean(tests)) for tests in TESTS]
    found = [float(row["student_test deviation"]) for row in rows]
    assert found == pytest.approx([np.std(tests, ddof=1) for tests in TESTS])
    assert [row["run"] for row in rows] == ["/runs/r0", "/runs/r1"]


def test_markdown_and_latex_show_the_table_as_the_screen_does() -> None:
    groups = [group("a|b_c", TESTS[0], gap_closed=0.5)]
    names = ["name", "student_test", "gap_closed"]
    deviation = f"{np.std(TESTS[0], ddof=1):.3f}"
    lines = markdown_table(groups, names).splitlines()
    assert lines[-1] == rf"| a\|b_c | {np.mean(TESTS[0]):.3f} ± {deviation} | 50 % |"
    latex = latex_table(groups, names)
    assert rf"a|b\_c & {np.mean(TESTS[0]):.3f} $\pm$ {deviation} & 50 \% \\" in latex
    assert latex.startswith(r"\begin{tabular}{lrr}")


@pytest.mark.parametrize(
    ("kept", "values"),
    [
        (True, {"student.hidden": 4.0}), (False, {"student.hidden": 4.25}), (False, {"student.hidden": "wide"}),
        (True, {}), (False, {"data": "pinwheel"}), (True, {"data": "digits", "student_test": 7.0}),
    ],
)  # fmt: skip
def test_a_format_that_still_fits_is_the_one_that_all_groups_would_get(kept: bool, values: dict[str, Any]) -> None:
    many = [group(str(number), **{"student.hidden": float(number), "data": "digits"}) for number in range(8)]
    new = group("new", **{"student.hidden": 3.0, "data": "digits"} | values)
    for name in ("student.hidden", "data", "student_test"):
        before, after = format_of(name, many), format_of(name, [*many, new])
        if before.fits([new]):
            assert (before.decimals, before.numeric, before.equal) == (after.decimals, after.numeric, after.equal)
    assert kept == all(format_of(name, many).fits([new]) for name in ("student.hidden", "data"))


def test_a_folder_has_the_runs_of_the_folders_in_it() -> None:
    counts = count_folders(["", "a", "a/failed", "a/failed", "b/c"])
    assert counts == {"": 1, "a": 3, "a/failed": 2, "b": 1, "b/c": 1}
    assert is_in_folder("a/failed", "a")
    assert not is_in_folder("ab", "a")
    assert not is_in_folder("a", "")
    assert is_in_folder("a", None)
