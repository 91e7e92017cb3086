"""The flows of a lab: they learn as in a run, change while they learn, and their pictures are those of the flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

import nfkd
from nfkd.config import ConfigError
from nfkd.config.lab import LabConfig
from nfkd.flows.flow import Flow
from nfkd.lab import training
from nfkd.lab.pictures import DENSITY, picture, probe_path, without_layers
from nfkd.lab.teacher_cache import TeacherCache
from nfkd.lab.training import LabTraining
from nfkd.protocol.lab import LAB_ROLES
from tests.core.tiny import moons


def tiny(**changes: Any) -> LabConfig:
    """Return a lab whose teacher makes 20 steps and whose students make 30."""
    experiment = moons(
        training={"teacher_steps": 20, "student_steps": 30, "student_examples": 60},
        distillation={"pool": {"share": 0.5, "size": 300}},
        monitor={"evaluate_every": 10},
    )
    return LabConfig.of_experiment(experiment).replace(**changes)


def trained(config: LabConfig, cache: TeacherCache | None = None) -> LabTraining:
    lab = LabTraining(config, cache)
    while lab.phase != "done":
        lab.step()
    return lab


@pytest.fixture(scope="module")
def lab() -> LabTraining:
    return trained(tiny())


@pytest.mark.parametrize("repeat", [0, 1])
def test_students_learn_as_in_a_run(lab: LabTraining, tmp_path: Path, repeat: int) -> None:
    nfkd.run(tiny(seeds={"count": 1 + repeat}).experiment(), tmp_path / "run")
    lab = trained(tiny(lab={"repeat": repeat})) if repeat else lab
    with h5py.File(next((tmp_path / "run").glob(f"**/seed-{1 + repeat}/run.h5" if repeat else "run.h5"))) as file:
        for role in ("student", "baseline"):
            curve: Any = file[f"{role}/curves/validation/nll"]
            steps, values = curve["step"][:], curve["value"][:]
            ours = lab.curves[role]
            ours = ours[np.isin(ours[:, 0], steps)]
            assert list(ours[:, 0]) == [10, 20, 30]
            np.testing.assert_allclose(ours[:, 1], values, rtol=1e-5)


def test_teacher_has_one_value_and_students_a_curve(lab: LabTraining) -> None:
    assert lab.curves["teacher"].shape == (1, 2)
    assert lab.curves["student"][:, 0].tolist() == [1, 10, 20, 30]
    assert lab.steps_of() == {"teacher": 20, "student": 30, "baseline": 30}


def test_density_is_that_of_the_flow_and_integrates_to_one(lab: LabTraining) -> None:
    extent = (-8.0, 8.0, -8.0, 8.0)
    flow = _flow(lab, "student")
    shown = picture(flow, lab.noise, extent, step=30)
    area = (16 / DENSITY) ** 2
    assert np.exp(shown.density.astype(float)).sum() * area == pytest.approx(1, abs=0.05)
    x = torch.tensor([[-8 + 16 / DENSITY * 10.5, -8 + 16 / DENSITY * 30.5]])
    assert shown.density[30, 10] == pytest.approx(float(flow.log_prob(x).detach()), rel=1e-4)


def test_probe_adds_up_to_log_p(lab: LabTraining) -> None:
    reply = lab.probe("lab 1", (0.5, -0.25))
    assert set(reply.flows) == set(LAB_ROLES)
    for role, path in reply.flows.items():
        flow = _flow(lab, role)
        z = path.states[-1]
        base = stats.norm.logpdf(z.astype(float)).sum()
        assert path.base_log_prob == pytest.approx(base, rel=1e-5)
        expected = float(flow.log_prob(torch.tensor([[0.5, -0.25]])).detach())
        assert base + path.log_dets.sum() == pytest.approx(expected, rel=1e-5)


def test_a_layer_that_is_off_changes_nothing(lab: LabTraining) -> None:
    flow = _flow(lab, "student")
    first, second = (info.name for info in flow.layer_info())
    path = probe_path(flow, (0.5, 0.5), [first])
    assert path.states[0].tolist() == path.states[1].tolist()
    assert path.log_dets[0] == 0
    off = without_layers(flow, [first, second])
    x = torch.randn(5, 2)
    np.testing.assert_allclose(off.log_prob(x).detach(), stats.norm.logpdf(x).sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(
        picture(flow, lab.noise, (-1, 1, -1, 1), off=[first, second]).plane.points[0], lab.noise
    )


def test_samples_follow_the_temperature(lab: LabTraining) -> None:
    flow = _flow(lab, "student")
    shown = picture(flow, lab.noise, (-1, 1, -1, 1), temperature=0.5)
    expected = flow.synthesize([lab.noise], 0.5).detach()
    np.testing.assert_allclose(shown.plane.points[0], expected, atol=1e-5)
    np.testing.assert_allclose(shown.plane.points[-1], 0.5 * lab.noise, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "restarts"),
    [
        ({"training.learning_rate": 0.01}, ()),
        ({"distillation.nll.weight": 0.0, "distillation.lkd.weight": 1.0}, ()),
        ({"distillation.pool.share": 0.2}, ()),
        ({"monitor.temperature": 0.7}, ()),
        ({"training.student_steps": 50}, ()),
        ({"lab.off": ["student.step1"]}, ()),
        ({"student.steps": 1}, ("student", "baseline")),
        ({"lab.choice": 1}, ("student", "baseline")),
        ({"lab.repeat": 2}, ("student", "baseline")),
        ({"training.student_examples": 90}, ("student", "baseline")),
        ({"teacher.hidden": 4}, LAB_ROLES),
        ({"training.teacher_steps": 5}, LAB_ROLES),
        ({"data.noise": 0.2}, LAB_ROLES),
        ({"seeds.first": 7}, LAB_ROLES),
        ({"lab.teacher": "together"}, LAB_ROLES),
    ],
)
def test_changes_start_only_the_flows_anew_that_they_concern(values: dict[str, Any], restarts: tuple[str, ...]) -> None:
    config = tiny(training={"teacher_steps": 2, "student_steps": 4, "student_examples": 60})
    lab = trained(config)
    before = lab.steps_of()
    assert lab.change(config.with_values(values)) == bool(restarts)
    assert lab.steps_of() == {role: 0 if role in restarts else before[role] for role in LAB_ROLES}
    if "training.student_steps" in values:
        assert lab.phase == "students"
    lab.step()


def test_another_choice_gives_the_students_other_points_of_the_same_data() -> None:
    first, second, again = (LabTraining(tiny(lab={"choice": choice})).opened("lab 1") for choice in (0, 1, 1))
    assert first.points.shape == second.points.shape == (60, 2)
    assert len(np.unique(np.concatenate([first.points, second.points]), axis=0)) > 60
    known = {tuple(point) for point in first.teacher_points.tolist()}
    assert {tuple(point) for point in second.points.tolist()} <= known
    np.testing.assert_array_equal(second.points, again.points)


def test_a_refused_change_leaves_the_lab_as_it_is() -> None:
    lab = LabTraining(tiny())
    before = lab.config
    with pytest.raises(ConfigError, match="student_examples") as error:
        lab.change(before.with_values({"training.student_examples": 100_000}))
    assert [problem.path for problem in error.value.problems] == ["training.student_examples"]
    assert lab.config is before


def test_a_teacher_that_learns_along_makes_a_step_with_the_students() -> None:
    lab = LabTraining(tiny(lab={"teacher": "together"}))
    assert lab.phase == "students"
    for _ in range(3):
        lab.step()
    assert lab.steps_of() == {"teacher": 3, "student": 3, "baseline": 3}
    first = lab.curves["teacher"]
    assert first[:, 0].tolist() == [1]
    lab.restart()
    assert lab.steps_of() == dict.fromkeys(LAB_ROLES, 0)


def test_restart_keeps_a_trained_teacher(lab: LabTraining) -> None:
    other = trained(tiny())
    other.restart()
    assert other.steps_of() == {"teacher": 20, "student": 0, "baseline": 0}
    while other.phase != "done":
        other.step()
    np.testing.assert_array_equal(other.curves["student"], lab.curves["student"])


def test_trained_teachers_are_kept_in_files(lab: LabTraining, tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path, shipped=tmp_path / "none")
    first = trained(tiny(), cache)
    again = LabTraining(tiny(), cache)
    assert again.phase == "students"
    x = torch.randn(9, 2)
    for each in (again, lab):
        np.testing.assert_array_equal(_flow(first, "teacher").log_prob(x), _flow(each, "teacher").log_prob(x).detach())
    assert again.curves["teacher"].tolist() == first.curves["teacher"].tolist()
    assert LabTraining(tiny(data={"noise": 0.1}), cache).phase == "teacher"
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert LabTraining(tiny(), cache).phase == "teacher"


def test_a_teacher_whose_rate_was_changed_is_not_kept(tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path, shipped=tmp_path / "none")
    lab = LabTraining(tiny(), cache)
    lab.step()
    lab.change(tiny(training={"learning_rate": 0.01}))
    lab.change(tiny())
    while lab.phase == "teacher":
        lab.step()
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_first_teacher_comes_with_nfkd() -> None:
    lab = LabTraining(LabConfig.first(), TeacherCache(Path("/nowhere")))
    assert lab.phase == "students", "make lesson-teacher trains it again"
    x = torch.from_numpy(lab.opened("lab 1").teacher_points)
    log_prob = lab.flow("teacher").log_prob(x)
    assert float(-log_prob.mean()) == pytest.approx(lab.curves["teacher"][0, 1], abs=0.1)


@pytest.fixture
def pool_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all pools that were drawn."""
    sizes: list[int] = []
    draw = training.draw_pool

    def counted(*arguments: Any, **named: Any) -> Any:
        sizes.append(arguments[2])
        return draw(*arguments, **named)

    monkeypatch.setattr(training, "draw_pool", counted)
    return sizes


def test_the_pool_follows_a_teacher_that_learns_along(pool_sizes: list[int]) -> None:
    config = tiny(lab={"teacher": "together"})
    lab = LabTraining(config)
    for _ in range(27):
        lab.step()
    assert pool_sizes == [2048, 2048], "after 25 steps"
    lab.change(config.with_values({"student.steps": 1}))
    lab.step()
    assert len(pool_sizes) == 3, "the students began anew"


def test_the_pool_of_a_trained_teacher_is_drawn_once(pool_sizes: list[int]) -> None:
    config = tiny()
    lab = trained(config)
    before = lab.curves["student"]
    lab.restart()
    while lab.phase != "done":
        lab.step()
    assert pool_sizes == [300]
    np.testing.assert_array_equal(lab.curves["student"], before)
    for changes in ({"lab.repeat": 1}, {"distillation.pool.size": 200}, {"teacher.hidden": 4}):
        lab.change(config := config.with_values(changes))
        while lab.phase == "teacher":
            lab.step()
        lab.step()
    assert pool_sizes == [300, 300, 200, 200], "other noise, another size, another teacher"


def test_own_points_replace_the_data() -> None:
    points = np.random.default_rng(1).normal([3, -2], [0.5, 4], (200, 2)).round(3)
    lab = LabTraining(tiny(lab={"points": points.tolist()}))
    opened = lab.opened("lab 1")
    assert opened.teacher_points.shape == (140, 2)
    np.testing.assert_allclose(opened.teacher_points.std(axis=0), 1, atol=1e-5)
    assert len(opened.points) == 60
    lab.step()
    x0, x1, y0, y1 = opened.extent
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert ((opened.points > [x0, y0]) & (opened.points < [x1, y1])).all()


def _flow(lab: LabTraining, role: str) -> Flow:
    """Return a flow of a lab in evaluation mode."""
    return lab.flow(role).eval()  # type: ignore[arg-type]
