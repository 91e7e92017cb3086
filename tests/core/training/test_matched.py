"""The matching of whole experiments: what is described, warned of, trained on, recorded and exported."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.planning.describe import describe
from nfkd.protocol import events
from nfkd.runs.export import export_csv
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
def test_the_description_says_by_what_and_what_is_matched(config: ExperimentConfig, chosen: str, count: int) -> None:
    description = describe(config)
    assert not description.problems
    assert (description.strategy, len(description.pairs)) == (chosen, count)


def test_every_faulty_pair_is_found_at_once_at_its_place() -> None:
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


def test_own_pairs_are_trained_on_recorded_and_exported_with_their_weights(tmp_path: Path) -> None:
    weights = {"nll": {"weight": 0.0}, "lkd": {"weight": 0.0}, "skd": {"weight": 0.0}, "ilkd": {"weight": 1.0}}
    record = nfkd.run(moons(distillation=weights | matching(OWN)), tmp_path / "run")
    plan = next(plan for plan in record.seeds[1].started.stages if plan.stage == "student")
    assert [(pair.student, pair.teacher, pair.weight) for pair in plan.pairs] == [
        (pair["student"], pair["teacher"], pair["weight"]) for pair in OWN
    ]
    assert record.matching.values.shape[1] == 2
    alone = nfkd.run(moons(distillation=weights | matching(OWN[1:])), tmp_path / "alone")
    ours, theirs = (run.curves["student"]["train/ilkd"].values for run in (record, alone))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # a pair of no weight does nothing
    np.testing.assert_allclose(record.matching.values[:, 1], alone.matching.values[:, 0], rtol=1e-5)
    export_csv(record, tmp_path / "csv")
    with (tmp_path / "csv" / "seed-1-matching.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["student layer"], row["teacher layer"], float(row["weight"])) for row in rows} == {
        ("step1", "step2", 0.0),
        ("step2", "step3", 2.0),
    }


def test_a_student_deeper_than_its_teacher_may_run_with_a_warning(tmp_path: Path) -> None:
    config = moons(student={"steps": 5}, training={"teacher_steps": 3, "student_steps": 2})
    assert warnings(config)["student.steps"] == "the student (5 steps) is deeper than its teacher (3 steps)"
    assert "student.steps" not in warnings(moons())
    seen: list[events.RunEvent] = []
    nfkd.run(config, tmp_path / "run", on_event=seen.append)
    said = [event.text for event in seen if isinstance(event, events.LogLine) and event.level == "warning"]
    assert any("deeper than its teacher" in text for text in said)
    config.save(tmp_path / "deep.toml")
    command = [sys.executable, "-m", "nfkd", "run", "deep.toml", "--out", "told"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "student.steps: the student (5 steps) is deeper than its teacher (3 steps)" in done.stderr
    assert open_run(tmp_path / "told").config == config


def test_pairs_that_the_strategy_does_not_use_are_told_of() -> None:
    config = moons(distillation={"matching": {"strategy": "paper", "pairs": OWN}})
    assert "are not used: the strategy is 'paper'" in warnings(config)["distillation.matching.pairs"]
    assert not describe(config).problems


SHALLOW = {"teacher": {"levels": 3}, "student": {"levels": 2}}
"""The latents have other shapes, and the layers of the first two levels the same."""


def losses(*names: str, **rest: Any) -> dict[str, Any]:
    """Return the loss of maximum likelihood and some terms, and no other."""
    weights = {name: {"weight": float(name in names)} for name in ("lkd", "ilkd", "skd")}
    return weights | {name: {"weight": 1.0} for name in names} | rest


@pytest.mark.parametrize("term", [name for name, term in OBJECTIVES.items() if term.same_latents])
def test_terms_that_compare_latents_want_the_same_number_of_levels(term: str) -> None:
    found = problems(digits(**SHALLOW, distillation=losses(term, "density", **matching(strategy="by_resolution"))))
    [(path, message)] = found.items()
    assert path == "student.levels"
    assert "give both flows the same number of levels, or the weight 0 to " in message
    assert "Density" not in message


def test_other_terms_distil_into_a_student_of_fewer_levels(tmp_path: Path) -> None:
    names = [name for name, term in OBJECTIVES.items() if not term.same_latents]
    config = digits(**SHALLOW, distillation=losses(*names, **matching(strategy="by_resolution")))
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
    config = digits(**SHALLOW, distillation=losses("forward_kl", **matching(strategy="paper")))
    assert not describe(config).problems
    assert "match by resolution" in warnings(config)["distillation.matching.strategy"]
    record = nfkd.run(config, tmp_path / "run")
    assert record.matching is None or not record.matching.values.size
    read = digits(**SHALLOW, distillation=losses("ilkd", **matching(strategy="paper")))
    assert "match by resolution" in problems(read)["distillation.matching.strategy"]
    mixed = digits(**SHALLOW, distillation=losses("forward_kl", **matching(strategy="paper", inherit_permutation=True)))
    assert "no layers are matched" in problems(mixed)["distillation.matching.inherit_permutation"]
