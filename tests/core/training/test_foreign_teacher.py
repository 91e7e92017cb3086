"""Teachers from other libraries, passed in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nfkd
from nfkd.cli import main
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.data import load_dataset
from nfkd.engine.explore import Explorer
from nfkd.evaluation.likelihood import noisy
from nfkd.flows.architectures import build_flow
from nfkd.planning.teachers import with_teacher
from nfkd.protocol import events
from nfkd.protocol.requests import Sample
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd.training.api import prepare
from nfkd.training.control import Control
from nfkd.training.job import execute_run
from tests.core.tiny import moons
from tests.core.training.runs import only

zuko = pytest.importorskip("zuko")
nf = pytest.importorskip("normflows")


def maf(features: int = 2, context: int = 0, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return zuko.flows.MAF(features, context, transforms=3, hidden_features=(16, 16))


def test_a_zuko_flow_teaches_a_student(tmp_path: Path) -> None:
    module = maf()
    teacher = nfkd.wrap_teacher(module)
    before = teacher.fingerprint()
    record = nfkd.run(moons(), tmp_path / "run", teacher=teacher)
    assert record.row.state == "finished"
    assert record.row.teacher == "zuko MAF"
    assert teacher.fingerprint() == before
    curves = record.curves["student"]
    assert {f"train/{term}" for term in ("nll", "lkd", "ilkd", "skd")} <= curves.keys()
    assert all(np.isfinite(curves[f"train/{term}"].values).all() for term in ("nll", "lkd", "ilkd", "skd"))
    assert record.matching.values.shape[1] == 2  # the student has two steps
    dataset, results = load_dataset(record.config.data), {summary.stage: summary for summary in record.summary}
    with torch.no_grad():
        expected = -module(None).log_prob(noisy(dataset, dataset.test).x).double().mean().item()
    assert results["teacher"].test == pytest.approx(expected, rel=1e-5)
    assert results["teacher"].steps == 0
    assert results["teacher"].parameters == sum(parameter.numel() for parameter in module.parameters())
    assert results["teacher"].multiply_adds > 0
    assert record.samples["teacher"].shape == (8, 2)


def test_the_first_lkd_is_to_the_latents_of_the_module(tmp_path: Path) -> None:
    """Compare the loss of the first step with the module's latents and a student built outside the run."""
    module, config = maf(), moons(distillation=only("lkd"), training={"student_steps": 1, "batch_size": 280})
    record = nfkd.run(config, tmp_path / "run", teacher=nfkd.wrap_teacher(module))
    from nfkd.training.generators import named_generator

    dataset = load_dataset(config.data)
    x = torch.from_numpy(np.array(dataset.train.values[:]))  # one batch has all examples
    student = build_flow(config.student, (2,), generator=named_generator(1, "student", "initialisation"))
    student.initialize(x)
    with torch.no_grad():
        latents = module(None).transform(x)
        expected = (student.encode(x).flat() - latents).square().mean().item()
    assert record.curves["student"]["train/lkd"].values[0] == pytest.approx(expected, rel=1e-5)


def test_all_seeds_share_a_foreign_teacher(tmp_path: Path) -> None:
    config = moons(seeds={"count": 3}, training={"student_steps": 3})
    record = nfkd.run(config, tmp_path / "group", teacher=nfkd.wrap_teacher(maf()))
    assert [summary.seed for summary in record.summary if summary.stage == "teacher"] == [1]
    assert record.verdict is not None
    assert record.verdict.seeds == [1, 2, 3]


def test_its_weights_are_saved_under_its_own_names(tmp_path: Path) -> None:
    module = maf(seed=4)
    record = nfkd.run(moons(training={"student_steps": 2}), tmp_path / "run", teacher=nfkd.wrap_teacher(module))
    again = maf(seed=5)
    again.load_state_dict(load_file(tmp_path / "run" / "teacher.safetensors"))
    x = torch.rand(3, 2)
    torch.testing.assert_close(again(None).log_prob(x), module(None).log_prob(x))
    with pytest.raises(RunError, match="zuko MAF"):
        record.load_teacher()
    assert record.load_student().scaled.initialized
    drawn = Explorer().answer(Sample(str(record.path), 1, 4, 1.0))
    assert drawn.samples.keys() == {"student", "baseline"}
    assert main(["show", str(record.path)]) == 0


def test_only_the_same_teacher_resumes_its_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher, control = nfkd.wrap_teacher(maf()), Control()
    config = with_teacher(moons(), teacher)

    def watch(event: events.RunEvent) -> None:
        if isinstance(event, events.Progress) and event.stage == "student":
            control.stop("run")

    path = prepare(config, tmp_path / "run", teacher)
    assert execute_run(path, config, watch, control, teacher=teacher) == "stopped"
    own, other = (nfkd.wrap_teacher(maf(seed=seed)) for seed in (0, 1))
    made = f"started with the teacher python:zuko MAF sha256:{own.fingerprint()[:16]}, not"
    with pytest.raises(ConfigError, match=f"{made} one that is trained"):
        nfkd.run(moons(), path, resume=True)
    with pytest.raises(ConfigError, match=f"{made} python:zuko MAF sha256:{other.fingerprint()[:16]}"):
        nfkd.run(moons(), path, resume=True, teacher=other)
    assert main(["run", str(path / "experiment.toml"), "--out", str(path), "--resume"]) == 2
    error = capsys.readouterr().err
    assert "training.teacher_weights" in error
    assert "teacher=" in error
    record = nfkd.run(moons(), path, resume=True, teacher=nfkd.wrap_teacher(maf()))
    whole = nfkd.run(moons(), tmp_path / "whole", teacher=teacher)
    np.testing.assert_array_equal(
        record.curves["student"]["train/total"].values, whole.curves["student"]["train/total"].values
    )


def gmm() -> Any:
    torch.manual_seed(0)
    flows = [nf.flows.AffineCouplingBlock(nf.nets.MLP([1, 8, 2]))]
    return nf.NormalizingFlow(nf.distributions.GaussianMixture(2, 2), flows)


def planar() -> Any:
    torch.manual_seed(0)
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(2), [nf.flows.Planar((2,)) for _ in range(2)])


@pytest.mark.parametrize(
    ("make", "refused", "reason"),
    [(gmm, {"lkd", "ilkd", "skd"}, "GaussianMixture"), (planar, {"lkd", "ilkd"}, "no algebraic inverse")],
)
def test_unsupported_terms_are_refused_with_the_reason(
    make: Any, refused: set[str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        nfkd.run(moons(), tmp_path / "run", teacher=nfkd.wrap_teacher(make()))
    problems = {problem.path: problem.message for problem in error.value.problems}
    assert problems.keys() == {f"distillation.{term}.weight" for term in refused}
    assert all(reason in message for message in problems.values())
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_can_only_sample_teaches_by_samples(tmp_path: Path) -> None:
    config = moons(distillation=only("nll", "skd"), training={"student_steps": 3})
    record = nfkd.run(config, tmp_path / "run", teacher=nfkd.wrap_teacher(planar()))
    results = {summary.stage: summary for summary in record.summary}
    assert np.isnan(results["teacher"].test)
    assert np.isfinite(results["teacher"].c2st)
    assert np.isfinite(results["student"].test)
    assert "teacher" in record.samples
    assert open_run(record.path).row.state == "finished"


def test_a_teacher_for_other_data_is_refused(tmp_path: Path) -> None:
    for module, message in ((maf(3), "for examples of 3"), (maf(2, 5), "a context of 5 features")):
        with pytest.raises(ConfigError, match=message):
            nfkd.run(moons(), tmp_path / "run", teacher=nfkd.wrap_teacher(module))


def test_a_module_that_is_not_wrapped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="wrap_teacher"):
        nfkd.run(moons(), tmp_path / "run", teacher=maf())


def test_the_saved_experiment_names_the_teacher() -> None:
    config = with_teacher(moons(), nfkd.wrap_teacher(maf()))
    assert ExperimentConfig.from_toml(config.to_toml()) == config
    assert config.training.teacher_weights.startswith("python:zuko MAF sha256:")
