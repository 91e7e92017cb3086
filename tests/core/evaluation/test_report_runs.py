"""The report of several runs: it agrees with the runs, claims no more than they show, and never compares other data."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import nfkd
from nfkd.cli import main
from nfkd.config.sweep import SweepConfig
from nfkd.evaluation import report_file
from nfkd.evaluation.comparison import Mean, compare_runs
from nfkd.evaluation.metrics import METRICS
from nfkd.evaluation.report import report_html
from nfkd.evaluation.report_file import write_report
from nfkd.evaluation.report_parts import without_folders
from nfkd.evaluation.report_runs import answer, runs_report_html
from nfkd.evaluation.run_group import read_group
from nfkd.evaluation.tradeoff import Point, pareto_front
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from tests.core.evaluation.test_comparison import run as compared
from tests.core.evaluation.test_report import Page
from tests.core.tiny import digits, moons

SHORT = {"teacher_steps": 6, "student_steps": 6, "baseline": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of one data set, one of another, a damaged one and a stopped one."""
    folder = tmp_path_factory.mktemp("private") / "sweep of sizes"
    for hidden in (4, 8):
        student = {"kind": "glow1d", "steps": 2, "hidden": hidden}
        config = moons(description="Which width?", training=SHORT, student=student, seeds={"count": 3})
        nfkd.run(config, folder / f"h{hidden}")
    nfkd.run(digits(training=SHORT | {"baseline": True}, description="Which width?"), folder / "digits <b>")
    shutil.copytree(folder / "h4", folder / "damaged")
    (folder / "damaged" / "seed-1" / "run.h5").write_bytes(b"no HDF5")
    shutil.copytree(folder / "h4", folder / "stopped")
    state = json.loads((folder / "stopped" / "state.json").read_text())
    state["row"] |= {"state": "stopped", "progress": 0.4}
    (folder / "stopped" / "state.json").write_text(json.dumps(state))
    (folder / "sweep.toml").write_text("[sweep]\n")
    assert main(["evaluate", str(folder / "h4"), "--metrics", "pit,c2st"]) == 0
    shutil.copy(folder / "h4" / "evaluation.json", folder / "stopped")
    (folder / "h8" / "evaluation.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return runs_report_html(read_group([folder]))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_table_has_the_figures_of_the_runs_the_best_first(folder: Path, page: Page) -> None:
    tests = {
        name: [each.test for each in open_run(folder / name).summary if each.stage == "student"]
        for name in ("h4", "h8")
    }
    order = sorted(tests, key=lambda name: sum(tests[name]))
    rows = [row for row in page.rows if len(row) > 7 and re.fullmatch(r"\d\s+h[48]", row[0])]
    assert [row[0].split()[-1] for row in rows] == order
    for row in rows:
        name = row[0].split()[-1]
        assert row[1] == name.removeprefix("h")  # the only setting that differs
        assert float(row[2].split(" ± ")[0].replace("−", "-")) == pytest.approx(sum(tests[name]) / 3, abs=1e-4)
        summaries = open_run(folder / name).summary
        assert row[6] == f"{next(each.parameters for each in summaries if each.stage == 'student'):,}"
        assert row[8] == "3"
    best, other = (tests[name] for name in order)
    mean = sum(second - first for first, second in zip(best, other, strict=True)) / 3
    assert float(rows[1][3].split(" ± ")[0].replace("−", "-")) == pytest.approx(mean, abs=1e-4)
    assert rows[0][3] == "–"


def test_evaluated_metrics_are_means_over_seeds(folder: Path, page: Page) -> None:
    values = json.loads((folder / "h4" / "evaluation.json").read_text())["evaluations"][0]["values"]
    pits = [each["value"] for each in values if (each["metric"], each["stage"]) == ("pit", "student")]
    assert len(pits) == 3
    cells = next(row for row in page.rows if row[:1] == ["PIT of latents"])
    column = next(row for row in page.rows if row[0] == "" and "h4" in row).index("h4")
    interval = stats.t.interval(0.95, 2, np.mean(pits), stats.sem(pits))
    assert cells[column] == f"{np.mean(pits):.4f} ± {(interval[1] - interval[0]) / 2:.4f}"
    assert cells[3 - column] == "–", "h8 has no readable evaluation"
    single = Page(report_html(open_run(folder / "h4")))
    found = next(row for row in single.rows if row[:1] == ["PIT of latents"])
    assert found[2] == cells[column]
    teacher = next(each for each in values if (each["metric"], each["stage"]) == ("pit", "teacher"))
    assert found[1] == f"{teacher['value']:.4f} ({teacher['low']:.4f} … {teacher['high']:.4f})"
    assert found[-1] == str(teacher["count"])


def test_a_sweep_says_what_it_varied_and_how_to_repeat_it(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    sweep = {"grid": {"student.hidden": [4, 8]}, "list": [{"data.path": str(secret / "more.csv")}]}
    data = {"kind": "table", "path": str(secret / "values.csv")}
    table = moons(data=data, name="x", description="How wide?").model_dump()
    runs = shutil.copytree(folder, tmp_path / "my sweep", ignore=shutil.ignore_patterns("*.safetensors"))
    SweepConfig.from_dict(table | {"sweep": sweep}).save(runs / "sweep.toml")
    html = runs_report_html(read_group([runs]))
    page = Page(html)
    question = "The sweep has 3 runs: every combination of these values and 1 listed choice of values."
    assert question in page.text
    assert ["student.hidden", "4, 8"] in page.rows
    assert ["data.path (listed)", "more.csv"] in page.rows
    assert "nfkd sweep sweep.toml --out 'my sweep'" in page.text
    assert str(secret) not in html
    settings = page.text[page.text.rindex('name = "x"') : page.text.index("What the words mean")]
    (tmp_path / "again.toml").write_text(settings)
    again = SweepConfig.open(tmp_path / "again.toml")
    assert again.sweep.grid == {"student.hidden": [4, 8]}
    assert Path(again.data.model_dump()["path"]) == tmp_path / "values.csv"


def test_a_search_says_its_space(folder: Path, tmp_path: Path) -> None:
    space = {"student.hidden": {"low": 4, "high": 64, "log": True}, "student.kind": {"choices": ["glow1d", "nsf"]}}
    sweep = {"search": {"runs": 12, "hours": 1.5, "space": space}, "metric": "samples_per_second"}
    shutil.copytree(folder / "h4", tmp_path / "h4")
    SweepConfig.from_dict(moons().model_dump() | {"sweep": sweep}).save(tmp_path / "sweep.toml")
    page = Page(runs_report_html(read_group([tmp_path])))
    assert "chose values of these fields by the speed of sampling, for 12 runs or 1.5 hours." in page.text
    assert ["student.hidden", "4 to 64, logarithmic"] in page.rows
    assert ["student.kind", "glow1d, nsf"] in page.rows


def test_only_what_differs_is_named(page: Page) -> None:
    assert ["student.hidden", "4, 8"] in page.rows
    assert page.text.count("Which width?") >= 1
    assert sum(row[:1] == ["student.hidden"] for row in page.rows) == 1


def test_runs_that_are_left_out_are_named_with_the_reason(page: Page) -> None:
    notes = page.text[page.text.index("Not in the comparison") : page.text.index("What was varied")]
    assert "damaged: The run cannot be read: damaged/seed-1/run.h5" in notes
    assert "stopped: It was stopped after 40 %." in notes
    assert "h8: Only its evaluated metrics are left out: h8/evaluation.json is damaged" in notes
    assert "sweep.toml: The sweep's file cannot be read: " in notes
    assert not [row for row in page.rows if row and re.search(r"damaged|stopped", row[0])]


def test_other_data_has_a_section_of_its_own(html: str, page: Page) -> None:
    assert page.tags.count("details") == 3
    assert "digits <b>" in page.text
    assert "<b>" not in html
    assert "There is no other run of this data to compare it with." in page.text


def test_each_data_set_has_a_tradeoff_and_curves_and_each_run_its_pictures(html: str, page: Page) -> None:
    assert page.tags.count("svg") == 2 * 2 + 3 * 2
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(set(identifiers)) == len(identifiers)
    assert {found[1:] for found in re.findall(r'href="(#[^"]+)"', html)} <= set(identifiers)


def test_nothing_else_is_loaded_and_no_folder_is_named(folder: Path, html: str, page: Page) -> None:
    assert str(folder.parent) not in html
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert all(each.startswith(("#", "data:image/png;base64,")) for each in page.references)
    for name in ("h4", "h8", "digits <b>"):
        assert open_run(folder / name).config.digest() in page.text


def test_the_command_writes_beside_the_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_file, "report_html", lambda record, for_print: f"one: {record.row.name}")
    monkeypatch.setattr(report_file, "runs_report_html", lambda group, for_print: f"several: {group.title}")
    runs = shutil.copytree(folder, tmp_path / "runs", ignore=shutil.ignore_patterns("*.safetensors"))
    assert main(["report", str(runs / "h4")]) == 0
    assert main(["report", str(runs)]) == 0
    assert capsys.readouterr().out.split() == [str(runs / "h4" / "report.html"), str(runs / "report.html")]
    assert (runs / "h4" / "report.html").read_text() == "one: h4"
    assert (runs / "report.html").read_text() == "several: runs"
    assert main(["report", str(runs / "h4"), str(runs / "h8")]) == 0
    assert (runs / "report.html").read_text() == "several: 2 runs"


def test_what_cannot_be_reported_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run, and no folder with runs"):
        write_report([folder / "h4", tmp_path])
    with pytest.raises(RunError, match="no folder with runs"):
        write_report([tmp_path / "missing"])
    with pytest.raises(RunError, match=r"does not end in \.html or \.pdf"):
        write_report([folder / "h4"], tmp_path / "report.png")


def test_a_run_is_reported_once(folder: Path) -> None:
    group = read_group([folder / "h4", folder, folder / "h4"])
    assert sorted(run.label for data in group.groups for run in data.runs) == ["digits <b>", "h4", "h8"]


def test_other_values_of_the_same_settings_are_other_data(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        values = "\n".join(f"{math.sin(n) + (name == 'b'):.4f},{math.cos(n):.4f}" for n in range(200))
        (tmp_path / "values.csv").write_text(f"x,y\n{values}\n")
        data = {"kind": "table", "path": str(tmp_path / "values.csv")}
        nfkd.run(moons(data=data, training=SHORT), tmp_path / "runs" / name)
    group = read_group([tmp_path / "runs"])
    assert [data.title for data in group.groups] == ["values.csv (version 1)", "values.csv (version 2)"]


# --- what the answer claims -------------------------------------------------------------------------------------------

BEST = {1: 2.0, 2: 2.1, 3: 2.05}


def claim(*others: tuple[str, dict[int, float]]) -> str:
    runs = [compared("best", BEST), *(compared(name, tests) for name, tests in others)]
    return answer(METRICS["likelihood"], "nats", compare_runs(runs))


def test_a_clear_difference_is_claimed() -> None:
    worse = {seed: value + 1 for seed, value in BEST.items()}
    text = claim(("far", worse), ("near", {1: 2.1, 2: 2.0, 3: 2.06}))
    assert text.startswith("best has the best mean test likelihood: 2.0500 ± 0.1242 nats (mean of 3 seeds)")
    assert "it is better than far, and it is not distinguishable from near." in text


def test_nothing_is_claimed_below_three_common_seeds() -> None:
    text = claim(("far", {1: 9.0, 2: 9.1}), ("apart", {4: 9.0, 5: 9.0, 6: 9.1}))
    assert "is not decided: that takes 3 common seeds" in text
    assert "better than" not in text
    text = claim(("far", {1: 9.0, 2: 9.1}), ("worse", {1: 9.0, 2: 9.1, 3: 9.05}))
    assert "it is better than worse, and far has fewer than 3 common seeds." in text


def test_a_run_that_wins_on_the_common_seeds_is_named() -> None:
    text = claim(("other", {seed: value - 0.5 for seed, value in BEST.items()} | {4: 99.0}))
    assert "but other is better on the common seeds." in text


def test_no_figure_is_no_claim() -> None:
    runs = [compared("a", {1: math.nan}), compared("b", {})]
    assert answer(METRICS["likelihood"], "nats", compare_runs(runs)) == "No run has a finite test likelihood."


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=30))
def test_the_front_is_what_no_other_point_beats(values: list[tuple[int, int]]) -> None:
    points = [Point(str(index), size, Mean(loss, math.nan, 1)) for index, (size, loss) in enumerate(values)]
    front = {(point.parameters, point.test.value) for point in pareto_front(points)}
    beaten = {
        (size, loss) for size, loss in values
        if any(a <= size and b <= loss and (a, b) != (size, loss) for a, b in values)
    }  # fmt: skip
    assert front == set(values) - beaten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/runs/a/run.h5 is missing.", "run.h5 is missing."),
        (r"C:\Users\me\a\run.h5: full", "run.h5: full"),
        ("/my runs/of mine/a/run.h5: full", "a/run.h5: full"),
        ("1/2 of the rows, samples/s", "1/2 of the rows, samples/s"),
    ],
)
def test_folders_are_taken_out_of_messages(text: str, shown: str) -> None:
    folders: list[Any] = [Path("/my runs/of mine")]
    assert without_folders(text, folders) == shown
