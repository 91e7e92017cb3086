"""Figures that a few examples decide: how they are recognised, counted, printed and kept out of a verdict."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.evaluation.outliers import dominating
from nfkd.evaluation.verdict import verdict_of
from nfkd.protocol.events import StageSummary, Verdict
from nfkd.protocol.roles import Role
from nfkd.runs.reader import open_run
from nfkd.text import format_number
from nfkd_gui.numbers import format_measure
from tests.core.tiny import moons

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("values", [
    RNG.normal(size=500), RNG.exponential(size=500), RNG.chisquare(6, 500), RNG.standard_t(5, 2000), np.ones(50),
    np.array([1.0]), np.array([1.0, np.inf, 2.0]), np.append(np.zeros(300), np.ones(300)),
])  # fmt: skip
def test_usual_figures_are_decided_by_many(values: np.ndarray) -> None:
    assert dominating(values) == 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_fewest_rows_with_half_of_the_deviation_are_counted(count: int) -> None:
    values = RNG.normal(size=400)
    values[:count] = 1e6  # equal rows: more than half of them are needed
    assert dominating(values) == count // 2 + 1
    values[0] = 1e12
    assert dominating(values) == 1
    assert dominating(-values) == 1


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (3.25, ".4f", "3.2500"),
        (999_999.0, ".2f", "999999.00"),
        (-146881695037.2823, ".4f", "-1.4688e+11"),
        (2e9, "+.3f", "+2.0000e+09"),
        (1.2e24, ".3f", "1.2000e+24"),
        (13_601_000.0, ",.0f", "13,601,000"),
        (float("inf"), ".4f", "inf"),
    ],
)
def test_large_figures_have_an_exponent(value: float, form: str, text: str) -> None:
    assert format_number(value, form) == text
    if form == ".4f":
        assert format_measure(value, 4) == ("–" if value == float("inf") else text.replace("-", "−"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three seeds on counts of which a few are 4e9."""
    folder = tmp_path_factory.mktemp("outliers")
    rows = np.stack([RNG.normal(size=400), RNG.poisson(4, 400)], axis=1)
    rows[::20, 1] = 4e9
    np.savetxt(folder / "counts.csv", rows, delimiter=",", header="x,count", comments="")
    values = moons(training={"teacher_steps": 30, "student_steps": 15}, seeds={"count": 3}).model_dump(mode="json")
    values["data"] = {"kind": "table", "path": str(folder / "counts.csv"), "scaling": "robust"}
    ExperimentConfig.from_dict(values).save(folder / "case.toml")
    assert main(["run", str(folder / "case.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_a_run_reports_rows_and_columns_and_has_no_verdict(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = open_run(run)
    assert 1 <= max(summary.outliers for summary in record.summary) <= 6
    verdict = record.verdict
    assert verdict is not None
    assert verdict.verdict == "inconclusive"
    assert "Inconclusive: a few examples decide the figures." in verdict.summary
    assert "Better" not in verdict.summary
    assert "Worse" not in verdict.summary
    for text in ("of 60 test examples", "extreme values in count", 'data.scaling = "quantile"'):
        assert text in verdict.advice
    log = "\n".join(line.text for line in record.snapshot().log)
    assert "values of count (" in log  # before the run
    assert "Warning: A few examples decide the likelihoods (" in log
    main(["show", str(run)])
    shown = capsys.readouterr().out
    assert "e+" in shown
    assert not [word for word in shown.split() if len(word.partition(".")[0].lstrip("-−")) > 9 and word[:1].isdigit()]


def summary(stage: Role, seed: int, test: float, outliers: float) -> StageSummary:
    return StageSummary(
        stage=stage, seed=seed, parameters=1, multiply_adds=1, steps=10, best_step=10, validation=test, test=test,
        test_error=0.01, unit="nats", samples_per_second=1.0, seconds=1.0, train_test_gap=0.0, outliers=outliers,
    )  # fmt: skip


@pytest.mark.parametrize("better", [True, False])
def test_a_verdict_on_a_few_rows_is_withheld(*, better: bool) -> None:
    sign = 1 if better else -1

    def judged(outliers: float, primary: str = "likelihood") -> Verdict:
        figures: dict[Role, float] = {"teacher": 1.0, "student": 2.0, "baseline": 2.0 + sign}
        stages = [
            summary(stage, seed, figure + 0.01 * seed * (stage == "student"), outliers if stage == "student" else 0)
            for seed in (1, 2, 3)
            for stage, figure in figures.items()
        ]
        return verdict_of(stages, primary, one_teacher=False)

    plain, noted = judged(0), judged(2)
    assert plain.verdict == ("better" if better else "worse")
    assert noted.verdict == "inconclusive"
    assert noted.summary.startswith("Inconclusive: a few examples decide the figures. ")
    assert not re.search(r"\b(Better|Worse)\b", noted.summary)
    assert "2 test examples make up more than half" in noted.advice
    assert "A few examples" not in judged(math.nan).advice  # a run of an older version
    assert "A few examples" in judged(2, "sw").advice


def test_the_advice_of_a_verdict_names_flows_with_samples_that_are_not_finite() -> None:
    roles: tuple[Role, ...] = ("teacher", "student", "baseline")
    stages = [summary(stage, seed, 1.0, 0) for seed in (1, 2, 3) for stage in roles]
    before = verdict_of(stages, "sw", one_teacher=False).advice
    broken = [replace(each, not_finite=4 * (each.stage == "student" and each.seed == 2)) for each in stages]
    advice = verdict_of(broken, "sw", one_teacher=False).advice
    assert advice.startswith(before)
    assert "Some samples are not finite (student; at most 4 in a seed)." in advice
    unknown = [replace(each, not_finite=math.nan) for each in stages]  # a run of an older version
    assert verdict_of(unknown, "sw", one_teacher=False).advice == before
