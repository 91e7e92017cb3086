"""The report of a run: read as a browser would, it agrees with the run, refers to nothing else, and hides folders."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import h5py
import numpy as np
import pytest
import torch

import nfkd
from nfkd.cli import main
from nfkd.evaluation.report import report_html
from nfkd.evaluation.report_file import write_report
from nfkd.evaluation.report_runs import runs_report_html
from nfkd.evaluation.run_group import read_group
from nfkd.runs.curve_figures import draw_curves
from nfkd.runs.errors import RunError
from nfkd.runs.layout import create_run
from nfkd.runs.reader import open_run
from tests.core.tiny import moons

HOSTILE = "<script>alert(1)</script> & <b>{{ 7 * 7 }}</b>"


class Page(HTMLParser):
    """Texts, tables and references of an HTML page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action"}]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds on a table whose path is private."""
    folder = tmp_path_factory.mktemp("private")
    rows = "\n".join(f"{math.sin(n):.5f},{math.cos(3 * n) + n / 400:.5f}" for n in range(400))
    (folder / "secret.csv").write_text(f"a,b\n{rows}\n")
    config = moons(
        name="report & run", description=HOSTILE, data={"kind": "table", "path": str(folder / "secret.csv")},
        training={"teacher_steps": 6, "student_steps": 6}, seeds={"count": 2},
    )  # fmt: skip
    nfkd.run(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(report_html(open_run(run)))


def test_the_figures_are_those_of_the_run(run: Path, page: Page) -> None:
    summaries = open_run(run).summary
    values = [summary.test for summary in summaries if summary.stage == "student"]
    mean = sum(values) / 2
    half = 12.7062 * abs(values[0] - values[1]) / 2  # Student's t for two values, t · s / √2
    (row,) = [row for row in page.rows if row and row[0].startswith("test likelihood")]
    assert page.rows[0] == ["", "Teacher", "Student", "Baseline"]
    shown = [float(part.replace("−", "-")) for part in row[2].split(" ± ")]
    assert shown == [pytest.approx(mean, abs=1e-4), pytest.approx(half, abs=2e-4)]
    (parameters,) = [row for row in page.rows if row and row[0] == "parameters"]
    assert parameters[2] == f"{next(each.parameters for each in summaries if each.stage == 'student'):,}"


def test_the_answer_and_every_picture_are_there(run: Path, page: Page) -> None:
    verdict = open_run(run).verdict
    assert verdict is not None
    assert verdict.summary in page.text
    assert page.tags.count("svg") == 4
    assert page.tags.count("figure") == 4
    for text in re.findall(r"<svg.*?</svg>", report_html(open_run(run)), re.DOTALL):
        ET.fromstring(text)


def test_nothing_else_is_loaded_and_no_folder_is_named(run: Path, page: Page) -> None:
    html = report_html(open_run(run))
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in page.references)
    assert "url(" not in re.sub(r"url\(#", "", html)
    assert "secret.csv" in page.text
    assert str(run.parent) not in html
    assert "/tmp" not in html


def test_versions_and_hashes_are_those_of_the_files(run: Path, page: Page) -> None:
    record = open_run(run)
    assert ["digest of the settings", record.config.digest()] in page.rows
    assert ["torch", torch.__version__] in page.rows
    files = [path for path in sorted(run.rglob("*.safetensors")) if "checkpoint" not in path.name]
    assert len(files) == 5  # both seeds have one teacher
    for path in files:
        (row,) = [row for row in page.rows if path.relative_to(run).as_posix() in row]
        assert row[3] == hashlib.sha256(path.read_bytes()).hexdigest()
    with h5py.File(run / "seed-1" / "run.h5") as file:
        data: Any = file.attrs["data"]
    (values,) = [part["values"] for part in json.loads(data)["parts"].values()]
    assert ["data", f"400 examples, {values}"] in page.rows


def test_curves_are_means_with_bands_over_the_seeds(run: Path) -> None:
    record = open_run(run)
    figure = draw_curves(record)
    assert figure is not None
    axes = figure.axes[0]
    (line,) = [line for line in axes.lines if line.get_label() == "student, validation"]
    values = [record.curves_of(seed)["student"]["validation/nll"].values for seed in (1, 2)]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), np.mean(values, axis=0))
    heights = [np.asarray(path.vertices)[:, 1] for band in axes.collections for path in band.get_paths()]
    assert len(heights) == 2  # of student and baseline: the seeds share the teacher
    assert any(np.isclose([height.min(), height.max()], [np.min(values), np.max(values)]).all() for height in heights)


def test_a_reader_learns_the_words(page: Page) -> None:
    for word in ("Normalizing flow", "Teacher", "Baseline", "Gap closed", "95 % interval", "Matched layers", "C2ST"):
        assert word in page.text
    assert "Assistant" not in page.text  # this run has none


def test_texts_of_the_run_are_shown_as_they_are(page: Page) -> None:
    assert HOSTILE in page.text
    assert "report & run" in page.text


def test_the_settings_repeat_the_run(run: Path, page: Page) -> None:
    start = page.text.index('name = "report & run"')
    text = page.text[start : page.text.index("How to reproduce it")]
    again = nfkd.ExperimentConfig.from_toml(text, folder=run.parent)
    assert again == open_run(run).config


def test_a_run_has_one_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "--out", str(tmp_path / "new" / "a.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "a.html")
    assert (tmp_path / "new" / "a.html").read_text(encoding="utf-8") == report_html(open_run(run))


def test_a_run_that_has_not_ended_has_a_report(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "verdict.json").unlink()
    page = Page(report_html(open_run(tmp_path / "copy")))
    assert "there is no verdict yet" in page.text


def test_a_run_that_has_not_begun_has_a_report(tmp_path: Path) -> None:
    page = Page(report_html(open_run(create_run(tmp_path, moons(), teacher="large", student="small"))))
    assert "there is no verdict yet" in page.text
    assert "svg" not in page.tags
    group = Page(runs_report_html(read_group([tmp_path])))
    assert "No run has finished yet." in group.text
    assert "It is queued: 0 % done." in group.text


def test_bad_places_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError):
        write_report([run], tmp_path / "file" / "report.html")
    assert main(["report", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_an_older_run_has_a_report(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parents[1] / "runs" / "saved" / "interrupted.zip") as archive:
        archive.extractall(tmp_path)
    (run,) = [path.parent for path in tmp_path.rglob("state.json")]
    assert Page(report_html(open_run(run))).tags.count("h1") == 1
