"""Assistants between teacher and student: who learns from whom, what is recorded of it, and what is told beforehand."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.data import load_dataset
from nfkd.engine.explore import Explorer
from nfkd.flows.architectures import build_flow
from nfkd.planning.describe import describe
from nfkd.planning.plans import chain, stage_costs, stage_steps, teacher_of
from nfkd.protocol import events
from nfkd.protocol.requests import Description, Sample, Trace
from nfkd.protocol.roles import Role
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.export import export_csv
from nfkd.runs.figures import export_figures
from nfkd.runs.reader import RunRecord, open_run
from nfkd.training.generators import named_generator
from tests.core.runs.written import opened
from tests.core.tiny import digits, moons

FIRST, SECOND = {"kind": "glow1d", "steps": 3, "hidden": 6}, {"kind": "glow1d", "steps": 2, "hidden": 5}
STAGES: list[Role] = ["teacher", "assistant-1", "assistant-2", "student", "baseline"]


def helped(*assistants: dict[str, Any], **changes: Any) -> ExperimentConfig:
    """Return two moons with assistants, two unless others are given."""
    steps = {"assistant_steps": 15} | changes.pop("training", {})
    return moons(assistants=assistants or (FIRST, SECOND), training=steps, **changes)


def only(*terms: str) -> dict[str, dict[str, float]]:
    return {name: {"weight": float(name in terms)} for name in ("nll", "lkd", "ilkd", "skd")}


def warnings(config: ExperimentConfig) -> dict[str, str]:
    return {warning.path: warning.message for warning in describe(config).warnings}


def problems(config: ExperimentConfig, **rest: Any) -> dict[str, str]:
    return {problem.path: problem.message for problem in describe(config, **rest).problems}


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, list[events.RunEvent]]:
    seen: list[events.RunEvent] = []
    return nfkd.run(helped(), tmp_path_factory.mktemp("assistants") / "run", on_event=seen.append), seen


@pytest.fixture
def run(told: tuple[RunRecord, list[events.RunEvent]]) -> RunRecord:
    return told[0]


def test_each_flow_has_its_stage_its_budget_and_its_weights(run: RunRecord) -> None:
    assert [(summary.stage, summary.steps) for summary in run.summary] == list(
        zip(STAGES, (30, 15, 15, 20, 20), strict=True)
    )
    assert run.row.teacher == "Glow-1D 3 → Glow-1D 3 → Glow-1D 2"
    for number, config in enumerate(run.config.assistants, start=1):
        flow = run.load_assistant(number).scaled
        fresh = build_flow(config, (2,))
        assert flow.state_dict().keys() == fresh.state_dict().keys()
        assert flow.initialized
        [figures] = [summary for summary in run.summary if summary.stage == f"assistant-{number}"]
        assert figures.parameters == sum(parameter.numel() for parameter in fresh.parameters())
        assert math.isfinite(figures.test)
    for number in (0, 3):
        with pytest.raises(RunError, match="There is no such assistant"):
            run.load_assistant(number)


def test_what_each_records_is_in_the_file_and_comes_back(run: RunRecord) -> None:
    view = RunView.from_snapshot(run.snapshot())
    assert view.roles() == STAGES
    with opened(run.path / "run.h5") as file:
        assert file.attrs["format"] == 2
        for stage in STAGES:
            learns = stage not in {"teacher", "baseline"}
            assert ("train/lkd" in file[f"{stage}/curves"]) == learns
            assert ("matching" in file[stage]) == learns
            assert bool(view.pairs(1, stage)) == learns
    words = [view.pairs(1, stage)[0].summary for stage in ("assistant-1", "assistant-2", "student")]
    assert words == [
        "assistant 1 step 1 ↔ teacher step 1",
        "assistant 2 step 1 ↔ assistant 1 step 2",
        "student step 1 ↔ assistant 2 step 1",
    ]
    measured: dict[Role, list[int]] = {"assistant-1": [1, 10, 15], "student": [1, 10, 20]}
    for stage, steps in measured.items():
        assert run.matching_of(stage).steps.tolist() == steps
        assert np.isfinite(run.matching_of(stage).values).all()
    assert run.matching_of("assistant-1").values.shape[1] == 3
    np.testing.assert_array_equal(run.matching.values, run.matching_of("student").values)
    assert run.samples.keys() == set(STAGES)
    assert {f"share/{name}" for name in ("nll", "lkd", "ilkd", "skd")} <= run.curves["assistant-2"].keys()


def test_the_way_of_a_run_goes_from_nothing_to_one(told: tuple[RunRecord, list[events.RunEvent]]) -> None:
    fractions = [event.fraction for event in told[1] if isinstance(event, events.Progress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    matched = [event.stage for event in told[1] if isinstance(event, events.MatchingMeasured)]
    assert list(dict.fromkeys(matched)) == ["assistant-1", "assistant-2", "student"]


def test_it_is_shown_exported_drawn_and_inspected(run: RunRecord, tmp_path: Path, capsys: Any) -> None:
    assert main(["show", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("assistant 1", "assistant 2", "student"))
    assert {path.stem for path in export_figures(run, tmp_path / "figures")} == {
        "curves", "samples", "interpolation", "matching", "matching-assistant-1", "matching-assistant-2",
    }  # fmt: skip
    files = {path.name for path in export_csv(run, tmp_path / "csv")}
    assert {f"seed-1-{stage}-curves.csv" for stage in STAGES} <= files
    with (tmp_path / "csv" / "seed-1-assistant-2-matching.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["student layer"], row["teacher layer"]) for row in rows} == {("step1", "step2"), ("step2", "step3")}
    assert main(["inspect", str(run.path)]) == 0
    looked_at = capsys.readouterr().out
    assert all(f"{role}: Glow-1D" in looked_at for role in ("teacher", "assistant 1", "assistant 2", "student"))


def test_an_experiment_is_inspected_with_its_assistants(tmp_path: Path, capsys: Any) -> None:
    helped().save(tmp_path / "helped.toml")
    assert main(["inspect", str(tmp_path / "helped.toml")]) == 0
    assert "assistant 2: Glow-1D 2" in capsys.readouterr().out


def test_requests_are_answered_by_every_flow(run: RunRecord) -> None:
    explorer = Explorer()
    assert list(explorer.sample(Sample(str(run.path), 1, 4, 1.0), None).samples) == STAGES
    traced = explorer.trace(Trace(run=str(run.path), seed=1, stage="assistant-1", index=0), None)
    assert len([layer for layer in traced.layers if layer.name.startswith("step")]) == 3


# --- who learns from whom ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "before"), [("assistant-1", "teacher"), ("assistant-2", "assistant-1"), ("student", "assistant-2")]
)
def test_the_first_lkd_is_that_of_the_flow_before_it(stage: Any, before: str, tmp_path: Path) -> None:
    steps = {"assistant_steps": 1, "student_steps": 1, "batch_size": 280}  # one batch takes all, in whatever order
    config = helped(distillation=only("lkd"), training=steps)
    record = nfkd.run(config, tmp_path / "run")
    flows = {
        "teacher": record.load_teacher().scaled,
        **{f"assistant-{n}": record.load_assistant(n).scaled for n in (1, 2)},
    }
    fresh = dict(zip(("assistant-1", "assistant-2", "student"), (*config.assistants, config.student), strict=True))
    x = torch.from_numpy(np.array(load_dataset(config.data).train.values[:]))
    learner = build_flow(fresh[stage], (2,), generator=named_generator(1, stage, "initialisation"))
    learner.initialize(x)
    with torch.no_grad():
        expected = (learner.encode(x).flat() - flows[before].encode(x).flat()).square().mean().item()
    assert record.curves[stage]["train/lkd"].values[0] == pytest.approx(expected, rel=1e-4)


def test_teacher_and_baseline_are_those_of_a_run_without_assistants(run: RunRecord, tmp_path: Path) -> None:
    plain = nfkd.run(moons(), tmp_path / "plain")
    for role in ("teacher", "baseline"):
        ours, theirs = (load_file(record.path / f"{role}.safetensors") for record in (run, plain))
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=0, atol=0)
    assert run.curves["student"]["train/lkd"].values[0] != plain.curves["student"]["train/lkd"].values[0]
    with opened(plain.path / "run.h5") as file:
        assert file.attrs["format"] == 1  # as before there were assistants
        assert set(file) == {"teacher", "student", "baseline", "summary"}


@pytest.mark.parametrize("retrain", [False, True])
def test_one_chain_serves_all_seeds_unless_each_has_its_own(retrain: bool, tmp_path: Path) -> None:
    seeds = {"count": 3, "first": 4, "retrain_teacher": retrain}
    config = helped(FIRST, seeds=seeds, training={"assistant_steps": 4, "student_steps": 4})
    record = nfkd.run(config, tmp_path / "group")
    for role in ("teacher", "assistant-1"):
        assert [one.seed for one in record.summary if one.stage == role] == ([4, 5, 6] if retrain else [4])
    assert record.load_assistant(1, 6).scaled.initialized
    assert (tmp_path / "group" / "seed-6" / "assistant-1.safetensors").exists() == retrain
    words = "a teacher and 1 assistant for each seed" if retrain else "one teacher and 1 assistant for all seeds"
    assert record.verdict is not None
    assert words in record.verdict.summary
    drawn = Explorer().sample(Sample(str(record.path), 6, 4, 1.0), None)
    assert list(drawn.samples) == ["teacher", "assistant-1", "student", "baseline"]


def test_own_pairs_are_the_students_and_an_assistant_is_matched_by_auto() -> None:
    pairs = [{"student": "step2", "teacher": "step1", "weight": 2.0}]  # of the second assistant
    config = helped(distillation={"matching": {"strategy": "pairs", "pairs": pairs}})
    description = describe(config)
    assert not description.problems
    assert [(pair.student, pair.teacher, pair.weight) for pair in description.pairs] == [("step2", "step1", 2.0)]
    told = [warning.message for warning in description.warnings if warning.path == "distillation.matching.pairs"]
    assert told == [f"assistant {n} is matched by 'auto': the pairs of the table are the student's" for n in (1, 2)]
    auto = describe(helped(distillation={"matching": {"strategy": "auto"}})).assistant_pairs
    assert [[pair.summary for pair in link] for link in description.assistant_pairs] == [
        [pair.summary for pair in link] for link in auto
    ]
    beyond = [{"student": "step1", "teacher": "step3"}]  # the teacher and the first assistant have it, and not the last
    problem = problems(helped(distillation={"matching": {"strategy": "pairs", "pairs": beyond}}))
    assert "has no layer 'step3'" in problem["distillation.matching.pairs.0.teacher"]
    assert "the student as the student of assistant 2" in problem["distillation.matching.pairs.0.teacher"]


def test_permutations_are_inherited_link_by_link(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-30, "schedule": "constant", "assistant_steps": 2, "student_steps": 2}
    config = digits(
        teacher={"steps": 4},
        assistants=[{"kind": "glow", "levels": 2, "steps": 2, "hidden": 5}],
        training=still | {"teacher_steps": 2},
        distillation={"matching": {"inherit_permutation": True}},
    )
    record = nfkd.run(config, tmp_path / "run")
    flows = {
        "teacher": record.load_teacher().scaled,
        "assistant": record.load_assistant(1).scaled,
        "student": record.load_student().scaled,
    }
    for level in (1, 2):
        products = {}
        for role, flow in flows.items():
            mixings = [
                layer.mixing.mixing_matrix().double()  # type: ignore[operator, union-attr]
                for info, layer in zip(flow.layer_info(), flow.layers, strict=True)
                if info.name.startswith(f"level{level}.step")
            ]
            products[role] = torch.linalg.multi_dot(mixings[::-1]) if len(mixings) > 1 else mixings[0]
        for role in ("assistant", "student"):
            torch.testing.assert_close(products[role], products["teacher"], rtol=1e-4, atol=1e-5)


def test_a_teacher_of_another_library_teaches_the_first_assistant(tmp_path: Path) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    teacher = nfkd.wrap_teacher(zuko.flows.MAF(2, transforms=3, hidden_features=(16, 16)))
    record = nfkd.run(helped(FIRST), tmp_path / "run", teacher=teacher)
    assert record.row.state == "finished"
    assert record.row.teacher == "zuko MAF → Glow-1D 3"
    assert record.matching_of("assistant-1").values.shape[1] == 3
    assert record.load_assistant(1).scaled.initialized
    with pytest.raises(RunError, match="zuko MAF"):
        record.load_teacher()


def test_a_teacher_of_an_earlier_run_teaches_an_assistant(run: RunRecord, tmp_path: Path) -> None:
    config = helped(FIRST, training={"teacher_weights": str(run.path), "student_steps": 3, "assistant_steps": 3})
    record = nfkd.run(config, tmp_path / "again")
    steps = {summary.stage: summary.steps for summary in record.summary}
    assert steps == {"teacher": 0, "assistant-1": 3, "student": 3, "baseline": 3}


# --- before anything runs ---------------------------------------------------------------------------------------------


def test_the_chain_and_its_budgets() -> None:
    config = helped(training={"baseline": False})
    assert chain(config) == STAGES[:-1]
    assert [teacher_of(config, role) for role in chain(config)] == [None, *STAGES[:3]]
    assert teacher_of(config, "baseline") is None
    assert stage_steps(config) == {"teacher": 30, "assistant-1": 15, "assistant-2": 15, "student": 20}


def test_a_step_costs_what_its_own_two_flows_cost() -> None:
    helped_costs = stage_costs(helped(FIRST), describe(helped(FIRST)))
    alone = moons(student=FIRST)
    assert helped_costs["assistant-1"] == stage_costs(alone, describe(alone))["student"]
    below = moons(teacher=FIRST)
    assert helped_costs["student"] == stage_costs(below, describe(below))["student"]
    assert helped_costs["baseline"] == stage_costs(moons(), describe(moons()))["baseline"]


def test_every_flow_is_described() -> None:
    description = describe(helped())
    assert not description.problems
    assert [flow.summary for flow in description.assistants if flow] == ["Glow-1D 3", "Glow-1D 2"]
    assert description.student_teacher is description.assistants[1]
    assert all(flow.memory > 0 for flow in description.assistants if flow)
    plain: Description = describe(moons())
    assert (plain.assistants, plain.assistant_pairs) == ([], [])
    assert plain.student_teacher is plain.teacher


@pytest.mark.parametrize(
    ("make", "assistants", "path", "words"),
    [
        (moons, [FIRST, {"kind": "glow"}], "assistants.1.kind", "Glow"),
        (digits, [{"kind": "glow", "levels": 1, "steps": 1, "hidden": 4}], "assistants.0.levels", "the teacher's are"),
        (moons, [{"kind": "glow1d", "hidden": 4096, "steps": 128, "depth": 8}], "assistants.0.hidden", "assistant 1"),
    ],
)
def test_a_problem_of_an_assistant_has_its_field(make: Any, assistants: Any, path: str, words: str) -> None:
    changes = {"training": {"batch_size": 65536}} if "4096" in str(assistants) else {}
    found = problems(make(assistants=assistants, **changes))
    assert words in found[path]


def test_levels_that_do_not_fit_the_assistant_are_the_students_problem() -> None:
    one = {"kind": "glow", "levels": 1, "steps": 1, "hidden": 4}
    found = problems(digits(assistants=[one]))
    assert "assistant 1's are" in found["student.levels"]


@pytest.mark.parametrize("hidden", [64, 2])
def test_an_assistant_that_is_not_between_the_two_in_size_is_told_of(hidden: int) -> None:
    said = warnings(helped({"kind": "glow1d", "steps": 2, "hidden": hidden}))
    assert "is not between the teacher" in said["assistants.0"]
    assert "assistants.0" not in warnings(helped())
    swapped = warnings(helped(SECOND, FIRST))
    assert "assistants.0" not in swapped
    assert "assistant 2" in swapped["assistants.1"]
    assert "is not between assistant 1" in swapped["assistants.1"]


def test_an_assistant_deeper_than_its_teacher_is_told_of() -> None:
    said = warnings(helped({"kind": "glow1d", "steps": 5, "hidden": 2}))
    assert said["assistants.0.steps"] == "assistant 1 (5 steps) is deeper than its teacher (3 steps)"


def test_what_the_user_wrote_wrong_is_told_with_its_path() -> None:
    with pytest.raises(nfkd.ConfigError) as refused:
        moons(assistants=[FIRST, FIRST | {"hidden": 0}, {"kind": "nice"}])
    assert {problem.path for problem in refused.value.problems} == {"assistants.1.hidden", "assistants.2.kind"}
    with pytest.raises(nfkd.ConfigError, match="assistants"):
        moons(assistants=[FIRST] * 4)
    with pytest.raises(nfkd.ConfigError) as missing:
        moons(assistants=[{"steps": 2}])
    assert {problem.path for problem in missing.value.problems} == {"assistants.0.kind"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_file_keeps_them(count: int, tmp_path: Path) -> None:
    config = moons(assistants=[FIRST, SECOND, FIRST][:count])
    config.save(tmp_path / "file.toml")
    assert ExperimentConfig.load(tmp_path / "file.toml") == config
    assert len(config.assistants) == count
    table = '{kind = "glow1d", steps = 2, hidden = 5}'
    assert len(ExperimentConfig.load(tmp_path / "file.toml", [f"assistants=[{table}]"]).assistants) == 1


def test_a_run_that_has_none_is_read_without_them(tmp_path: Path) -> None:
    record = nfkd.run(moons(training={"teacher_steps": 2, "student_steps": 2}), tmp_path / "run")
    text = (tmp_path / "run" / "experiment.toml").read_text()
    old = "\n".join(line for line in text.splitlines() if not line.startswith(("assistants", "assistant_steps")))
    (tmp_path / "run" / "experiment.toml").write_text(old)
    again = open_run(tmp_path / "run")
    assert again.config == record.config
    assert again.config.assistants == ()
