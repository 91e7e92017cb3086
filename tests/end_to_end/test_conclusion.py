"""From a CSV file to a sentence: seeds, a sweep that is killed, a filter, a comparison, and a report in a browser."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from nfkd.cli import main
from nfkd.evaluation.pdf import find_browser
from nfkd.runs.reader import open_run
from tests.core.evaluation.test_report import Page

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
name = "sensors"
description = "How wide must the student be?"
data = {kind = "table", path = "sensors.csv"}
teacher = {kind = "glow1d", steps = 3, hidden = 8}
student = {kind = "glow1d", steps = 1, hidden = 4}
seeds = {count = 3}
compute = {device = "cpu", threads = 1}
training = {teacher_steps = 12, student_steps = 12, batch_size = 32, warmup_steps = 2, checkpoint_every = 4}
monitor = {evaluate_every = 4, pictures_every = 12, sample_count = 16, interpolation_steps = 3}
"""
GRID = """
[sweep.grid]
"student.hidden" = [2, 8]
"student.steps" = [1, 2]
"""
NAMES = [f"hidden-{hidden}_steps-{steps}" for hidden in (2, 8) for steps in (1, 2)]
COLUMNS = "name,student.hidden,student_test,verdict"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of a user, an experiment, and a sweep."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 3))
    values[:, 1] = np.sin(2 * values[:, 0]) + 0.3 * values[:, 1]
    np.savetxt("sensors.csv", values, delimiter=",", header="voltage,current,drift", comments="", fmt="%.6f")
    Path("sensors.toml").write_text(EXPERIMENT)
    Path("widths.toml").write_text(EXPERIMENT + GRID)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """Call a command; return what it has printed."""
    found = main(list(arguments))
    printed = capsys.readouterr()
    assert found == code, printed.err
    assert "Traceback" not in printed.err
    return printed.out, printed.err


def kill_after_first_run() -> None:
    """Start the sweep in a process of its own, and kill it when the first run has ended."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "core")])
    command = [sys.executable, "-m", "nfkd", "sweep", "widths.toml", "--out", "runs/widths"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as child:
        assert child.stdout is not None
        line = next((line for line in child.stdout if line.startswith("[1/4]")), "")
        child.kill()
        errors = child.communicate()[1]
    assert line.startswith(f"[1/4] {NAMES[0]}  validation NLL "), errors
    if hasattr(signal, "SIGKILL"):
        assert child.returncode == -signal.SIGKILL


def likelihoods(run: str) -> dict[int, float]:
    """Return the likelihood of a run's student on test data, by seed, as it is in the HDF5 files."""
    return {each.seed: each.test for each in open_run(f"runs/{run}").summary if each.stage == "student"}


def browser_page(path: Path, folder: Path) -> tuple[Page, np.ndarray] | None:
    """Return the page as a browser has read it, and its picture; None without a browser."""
    browser = find_browser()
    if browser is None:
        return None
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    command = [
        str(browser), "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}", "--window-size=1000,2000",
        f"--screenshot={folder / 'page.png'}", "--dump-dom", *(["--no-sandbox"] if is_root else []), path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    with Image.open(folder / "page.png") as picture:
        return Page(done.stdout), np.asarray(picture.convert("RGB"))


@pytest.mark.slow
def test_a_sentence_from_many_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "run", "sensors.toml", "--out", "runs/sensors")
    kill_after_first_run()
    first = Path("runs/widths", NAMES[0], "seed-1", "run.h5").stat().st_mtime_ns
    out, _ = call(capsys, "sweep", "widths.toml", "--out", "runs/widths")
    assert re.match(r"[23] runs left \([12] done, 0 failed\)", out)
    assert Path("runs/widths", NAMES[0], "seed-1", "run.h5").stat().st_mtime_ns == first
    assert {run["state"] for run in json.loads(Path("runs/widths/sweep.json").read_text())["runs"]} == {"finished"}

    broken = Path("runs/widths/broken")
    broken.mkdir()
    (broken / "state.json").write_text('{"row"')
    out, errors = call(
        capsys, "list", "runs", "--where", 'student.hidden == 8 and verdict != "missing"', "--sort", "student_test",
        "--columns", COLUMNS, "--format", "csv",
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(out)))
    wide = {name: float(np.mean(list(likelihoods(f"widths/{name}").values()))) for name in NAMES[2:]}
    assert [row["name"] for row in rows] == sorted(wide, key=lambda name: wide[name])
    assert [float(row["student_test"]) for row in rows] == pytest.approx(sorted(wide.values()), rel=1e-12)
    assert "broken" in errors
    out, _ = call(capsys, "list", "runs", "--group", "student.hidden", "--columns", "student_test", "--format", "json")
    assert [(row["student.hidden"], row["runs"]) for row in json.loads(out)] == [(2, 2), (4, 1), (8, 2)]

    compare(capsys)
    call(capsys, "evaluate", f"runs/widths/{NAMES[0]}", "--metrics", "pit,log_p_correlation")
    out, _ = call(capsys, "report", "runs/widths")
    report = Path(out.strip())
    html = report.read_text(encoding="utf-8")
    assert str(folder) not in html
    check_report(Page(html))
    seen = browser_page(report.absolute(), folder)
    if seen is None:
        pytest.skip("no Chromium, Chrome or Edge")
    page, picture = seen
    check_report(page)
    assert "svg" in page.tags
    colours = np.unique(picture.reshape(-1, 3).astype(np.uint32) @ (1, 256, 65536))
    assert len(colours) > 100, "text, boxes and figures are drawn"


def compare(capsys: pytest.CaptureFixture[str]) -> None:
    """Check the comparison of the group of seeds with two runs of the sweep against SciPy."""
    runs = ["sensors", f"widths/{NAMES[0]}", f"widths/{NAMES[3]}"]
    out, _ = call(capsys, "compare", *(f"runs/{run}" for run in runs), "--format", "json")
    found: dict[tuple[str, int], Any] = {(row["name"], row["number"]): row for row in json.loads(out)}
    assert [found["student.hidden", number]["value"] for number in (1, 2, 3)] == [4, 2, 8]
    base = likelihoods(runs[0])
    for number, run in enumerate(runs[1:], 2):
        row, other = found["test likelihood", number], likelihoods(run)
        assert row["value"] == pytest.approx(np.mean(list(other.values())), rel=1e-12)
        interval = stats.ttest_rel([other[seed] for seed in base], list(base.values())).confidence_interval(0.95)
        assert row["difference"] == pytest.approx((interval.low + interval.high) / 2, rel=1e-6, abs=1e-9)
        assert row["difference_half"] == pytest.approx((interval.high - interval.low) / 2, rel=1e-6)
        decided = "better" if interval.high < 0 else "worse" if interval.low > 0 else "no difference"
        assert (row["common_seeds"], row["outcome"]) == (3, decided)


def check_report(page: Page) -> None:
    """Check what a reader of the report sees."""
    means = {name: float(np.mean(list(likelihoods(f"widths/{name}").values()))) for name in NAMES}
    best = min(means, key=lambda name: means[name])
    text = " ".join(page.text.split())
    assert "How wide must the student be?" in text
    assert f"{best} has the best mean test likelihood: {means[best]:.4f} ± ".replace("-", "−") in text.replace("-", "−")
    assert "broken: The run cannot be read: broken/state.json is damaged" in text
    assert "nfkd sweep sweep.toml --out widths" in text
    assert ["student.hidden", "2, 8"] in page.rows
    assert ["student.steps", "1, 2"] in page.rows
    table = [row for row in page.rows if len(row) == 10 and row[0][:1].isdigit()]
    assert [row[0].split()[-1] for row in table] == sorted(means, key=lambda name: means[name])
    assert [row[-1] for row in table] == ["3"] * 4, "the seeds"
    assert any(row[:1] == ["PIT of latents"] for row in page.rows)
