"""The matching of whole experiments: problems, warnings, training, records and exports."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.planning.describe import describe
from nfkd.runs.export import export_csv
from nfkd.runs.log import read_log
from nfkd.runs.reader import open_run
from tests.core.tiny import digits, moons

OWN = [
    {"student": "step1", "teacher": "step2", "weight": 0.0},
    {"student": "step2", "teacher": "step3", "weight": 2.0},
]


def matching(pairs: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    return {"matching": changes | ({} if pairs is None else {"strategy": "pairs", "pairs": pairs})}


def problems(config: ExperimentConfig) -> dict[str, str]:
    return {problem.path: problem.message for problem in describe(config).problems}


def warnings(config: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(config).warnings}


@pytest.mark.parametrize(
    ("config", "chosen", "count"),
    [
        (digits(distillation=matching(strategy="auto")), "paper", 2),
        (moons(distillation=matching(strategy="auto")), "by_depth", 2),
        (
            moons(distillation=matching(strategy="auto"), teacher={"kind": "maf", "steps": 2, "hidden": 4}),
            "last_only",
            1,
        ),
        (moons(distillation=matching(strategy="by_resolution")), "by_resolution", 1),
        (moons(distillation=matching(OWN)), "pairs", 2),
    ],
)
def test_the_description_has_the_strategy_and_the_pairs(config: ExperimentConfig, chosen: str, count: int) -> None:
    description = describe(config)
    assert not description.problems
    assert (description.strategy, len(description.pairs)) == (chosen, count)


def test_every_wrong_pair_is_reported_at_its_path() -> None:
    pairs = [
        {"student": "step9", "teacher": "step1", "weight": 1.0},
        {"student": "step2", "teacher": "step2", "weight": 1.0},
        {"student": "step1", "teacher": "step3", "weight": 1.0},
    ]
    found = problems(moons(distillation=matching(pairs)))
    path = "distillation.matching.pairs"
    assert found.keys() == {f"{path}.0.student", f"{path}.2"}
    assert found[f"{path}.0.student"] == "the student has no layer 'step9' (step1 to step2)"
    assert "student step 1 ↔ teacher step 3 is out of order" in found[f"{path}.2"]


def test_the_users_pairs_are_used_recorded_and_exported_with_their_weights(tmp_path: Path) -> None:
    weights = {"nll": {"weight": 0.0}, "lkd": {"weight": 0.0}, "skd": {"weight": 0.0}, "ilkd": {"weight": 1.0}}
    few = {"teacher_steps": 4, "student_steps": 10, "baseline": False}
    record = nfkd.run(moons(distillation=weights | matching(OWN), training=few), tmp_path / "run")
    plan = next(plan for plan in record.seeds[1].started.stages if plan.stage == "student")
    assert [(pair.student, pair.teacher, pair.weight) for pair in plan.pairs] == [
        (pair["student"], pair["teacher"], pair["weight"]) for pair in OWN
    ]
    assert record.matching.values.shape[1] == 2
    alone = nfkd.run(moons(distillation=weights | matching(OWN[1:]), training=few), tmp_path / "alone")
    both, second = (run.curves["student"]["train/ilkd"].values for run in (record, alone))
    np.testing.assert_allclose(both, second, rtol=1e-5)  # a pair with the weight 0 changes nothing
    np.testing.assert_allclose(record.matching.values[:, 1], alone.matching.values[:, 0], rtol=1e-5)
    export_csv(record, tmp_path / "csv")
    with (tmp_path / "csv" / "seed-1-matching.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["student layer"], row["teacher layer"], float(row["weight"])) for row in rows} == {
        ("step1", "step2", 0.0),
        ("step2", "step3", 2.0),
    }


def test_a_student_deeper_than_its_teacher_runs_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = moons(student={"steps": 5}, training={"teacher_steps": 3, "student_steps": 2, "baseline": False})
    warning = "the student (5 steps) is deeper than its teacher (3 steps)"
    assert warnings(config)["student.steps"] == warning
    assert "student.steps" not in warnings(moons())
    config.save(tmp_path / "deep.toml")
    assert main(["run", str(tmp_path / "deep.toml"), "--out", str(tmp_path / "run")]) == 0
    assert f"student.steps: {warning}" in capsys.readouterr().err
    logged = [line.text for line in read_log(tmp_path / "run") if line.level == "warning"]
    assert f"student.steps: {warning}" in logged
    assert open_run(tmp_path / "run").config == config


def test_pairs_that_the_strategy_does_not_use_give_a_warning() -> None:
    config = moons(distillation={"matching": {"strategy": "paper", "pairs": OWN}})
    assert "are not used: the strategy is 'paper'" in warnings(config)["distillation.matching.pairs"]
    assert not describe(config).problems


SHALLOW = {"teacher": {"levels": 3}, "student": {"levels": 2}}
"""Latents of different shapes; the layers of the first two levels have the same shapes."""


def losses(*names: str, **rest: Any) -> dict[str, Any]:
    """Return a loss of maximum likelihood and some terms."""
    weights = {name: {"weight": float(name in names)} for name in ("lkd", "ilkd", "skd")}
    return weights | {name: {"weight": 1.0} for name in names} | rest


@pytest.mark.parametrize("term", [name for name, term in OBJECTIVES.items() if term.same_latents])
def test_terms_that_compare_latents_need_the_same_number_of_levels(term: str) -> None:
    found = problems(digits(**SHALLOW, distillation=losses(term, "density", **matching(strategy="by_resolution"))))
    [(path, message)] = found.items()
    assert path == "student.levels"
    assert "give both flows the same number of levels, or the weight 0 to " in message
    assert "Density" not in message


@pytest.mark.parametrize("kind", ["tarflow", "jet"])
def test_latents_of_a_flow_without_levels_fit_no_glow(kind: str) -> None:
    config = digits(teacher={"kind": kind, "steps": 2, "hidden": 8}, distillation=losses("lkd", "forward_kl"))
    [(path, message)] = problems(config).items()
    assert path == "student.kind"
    assert "the teacher's are 1×8×8: choose another kind of flow, or give the weight 0 to LKD" in message


def test_every_term_distils_a_tarflow_into_a_jet(tmp_path: Path) -> None:
    few = {"teacher_steps": 3, "student_steps": 3, "baseline": False}
    teacher, student = ({"kind": kind, "steps": 3, "hidden": 8, "depth": 1} for kind in ("tarflow", "jet"))
    loss = losses(*OBJECTIVES)
    config = digits(teacher=teacher, student=student, training=few, distillation=loss)
    assert not describe(config).problems
    assert [(pair.student, pair.teacher) for pair in describe(config).pairs] == [
        (f"step{number}", f"step{number}") for number in (1, 2, 3)
    ]
    record = nfkd.run(config, tmp_path / "run")
    assert np.isfinite([summary.test for summary in record.summary]).all()


def test_other_terms_distil_into_a_student_of_fewer_levels(tmp_path: Path) -> None:
    names = [name for name, term in OBJECTIVES.items() if not term.same_latents]
    few = {"teacher_steps": 4, "student_steps": 4, "baseline": False}
    config = digits(**SHALLOW, training=few, distillation=losses(*names, **matching(strategy="by_resolution")))
    description = describe(config)
    assert not description.problems
    assert [pair.summary for pair in description.pairs] == [
        "student level 1 step 1 ↔ teacher level 1 step 2",
        "student level 2 step 1 ↔ teacher level 2 step 2",
    ]
    record = nfkd.run(config, tmp_path / "run")
    assert record.matching.values.shape[1] == 2
    for name in names:
        assert np.isfinite(record.curves["student"][f"train/{name}"].values).all()


def test_layers_that_no_term_reads_need_not_match(tmp_path: Path) -> None:
    few = {"teacher_steps": 4, "student_steps": 4, "baseline": False}
    config = digits(**SHALLOW, training=few, distillation=losses("forward_kl", **matching(strategy="paper")))
    assert not describe(config).problems
    assert "match by resolution" in warnings(config)["distillation.matching.strategy"]
    record = nfkd.run(config, tmp_path / "run")
    assert record.matching is None or not record.matching.values.size
    read = digits(**SHALLOW, distillation=losses("ilkd", **matching(strategy="paper")))
    assert "match by resolution" in problems(read)["distillation.matching.strategy"]
    mixed = digits(**SHALLOW, distillation=losses("forward_kl", **matching(strategy="paper")) | {"inherit": "mixing"})
    assert "no layers are matched" in problems(mixed)["distillation.inherit"]
