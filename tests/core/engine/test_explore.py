"""Interactive samples and interpolations of small runs: their noise, log p and ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.data import load_dataset
from nfkd.engine.explore import Explorer
from nfkd.protocol.inspection import Origin, ReadLikelihood, SampleOptions
from nfkd.protocol.requests import Interpolate, Sample
from nfkd.runs.errors import RunError
from nfkd.runs.pictures import read_pictures
from nfkd.runs.reader import open_run
from tests.core.tiny import digits, moons


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "points"
    nfkd.run(moons(training={"teacher_steps": 3, "student_steps": 3}), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "images"
    nfkd.run(digits(training={"teacher_steps": 2, "student_steps": 2}), path)
    return path


def _path(run: Path, first: int, second: int, steps: int) -> Interpolate:
    ends = (Origin("validation", index) for index in (first, second))
    return Interpolate(str(run), 1, *ends, mode="linear", steps=steps, log_prob=True)


def test_the_runs_own_noise_gives_the_stored_pictures(points: Path, images: Path) -> None:
    for run in (points, images):
        for role in ("teacher", "student"):
            stored = read_pictures(run, 1, role).samples
            assert stored is not None
            request = Sample(str(run), 1, len(stored.samples), stored.temperature)
            reply = Explorer().answer(request)
            np.testing.assert_allclose(reply.samples[role], stored.samples, atol=1e-5)


def test_points_of_every_flow_come_from_the_noise_in_the_reply(points: Path, images: Path) -> None:
    record = open_run(points)
    for seed in (None, 7):
        reply = Explorer().answer(Sample(str(points), 1, 30, 0.8, noise_seed=seed))
        assert reply.noise is not None
        assert reply.noise.shape == (30, 2)
        for role, flow in {"teacher": record.load_teacher(), "student": record.load_student()}.items():
            with torch.no_grad():
                x = flow.scaled.synthesize([torch.from_numpy(reply.noise)], 0.8)
            np.testing.assert_allclose(reply.samples[role], x, atol=1e-5)
    assert Explorer().answer(Sample(str(images), 1, 4, 0.8)).noise is None, "images have more latents"


def test_log_p_of_samples_and_frames_is_that_of_their_flow(points: Path, images: Path) -> None:
    for run in (points, images):
        student = open_run(run).load_student().scaled
        reply = Explorer().answer(Sample(str(run), 1, 5, 0.7, noise_seed=3, log_prob=True))
        x = student.sample(5, temperature=0.7, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            np.testing.assert_allclose(reply.log_prob["student"], student.log_prob(x), rtol=1e-4)
        assert set(reply.log_prob) == set(reply.samples)
        assert not Explorer().answer(Sample(str(run), 1, 5, 0.7, noise_seed=3)).log_prob
        path = Explorer().answer(_path(run, 0, 1, steps=4))
        frames = torch.from_numpy(path.paths["student"])
        if run is points:
            with torch.no_grad():
                np.testing.assert_allclose(path.log_prob["student"], student.log_prob(frames), rtol=1e-4)
        assert path.log_prob["student"].shape == (4,)


def test_a_sample_that_is_not_finite_has_no_log_p(points: Path) -> None:
    reply = Explorer().answer(Sample(str(points), 1, 4, float("nan"), noise_seed=1, log_prob=True))
    assert np.isnan(reply.log_prob["student"]).all()


def test_a_path_may_begin_and_end_at_samples(images: Path) -> None:
    run, explorer = str(images), Explorer()
    drawn = explorer.answer(Sample(run, 1, 16, 0.7, noise_seed=2))
    ends = [Origin("sample", index, count=16, temperature=0.7, noise_seed=2) for index in (5, 3)]
    request = Interpolate(run, 1, ends[0], ends[1], "spherical", 6)
    both = explorer.answer(request)
    for role, path in both.paths.items():
        np.testing.assert_allclose(path[0], drawn.samples[role][5], atol=1e-3)
        np.testing.assert_allclose(path[-1], drawn.samples[role][3], atol=1e-3)
    mixed = Interpolate(run, 1, ends[0], Origin("validation", 0), "linear", 3)
    half = explorer.answer(mixed)
    for role, path in half.paths.items():
        np.testing.assert_allclose(path[0], drawn.samples[role][5], atol=1e-3)
        np.testing.assert_allclose(path[-1], half.ends[1], atol=1e-3)
        np.testing.assert_array_equal(half.ends[0], drawn.samples["student"][5])
    with pytest.raises(RunError, match="no such example"):
        explorer.answer(Interpolate(run, 1, Origin("sample", 16, count=16), Origin("validation", 0), "linear", 3))


TARFLOW = {"kind": "tarflow", "steps": 2, "hidden": 16, "depth": 1}


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TarFlow teacher and a Glow student by class, of images with Gaussian noise."""
    path = tmp_path_factory.mktemp("runs") / "guided"
    data = {"class_labels": True, "noise": "gaussian", "noise_scale": 0.2, "label_dropping": 0.1}
    distillation = {"nll": {"weight": 1.0}, "pool": {"share": 0.0}}
    distillation |= {name: {"weight": 0.0} for name in ("lkd", "ilkd", "skd")}
    config = digits(training={"teacher_steps": 40, "student_steps": 2}, distillation=distillation)
    nfkd.run(config.replace(teacher=TARFLOW, data={"kind": "digits", **data}), path)
    return path


def test_only_flows_that_take_it_are_guided_and_both_are_denoised(guided: Path) -> None:
    record, explorer = open_run(guided), Explorer()
    plain, moved, clean = (
        explorer.answer(Sample(str(guided), 1, 6, 1.0, noise_seed=3, options=options))
        for options in (SampleOptions(), SampleOptions(guidance=3.0), SampleOptions(denoise=True))
    )
    assert (plain.guided, moved.guided) == ([], ["teacher"])
    np.testing.assert_array_equal(moved.samples["student"], plain.samples["student"])
    assert np.abs(moved.samples["teacher"] - plain.samples["teacher"]).max() > 1e-4
    examples = load_dataset(record.config.data)
    assert examples.validation.context is not None
    context = torch.from_numpy(examples.validation.context[:6])
    for role, flow in {"teacher": record.load_teacher(), "student": record.load_student()}.items():
        sample, generator = flow.scaled.sample, torch.Generator().manual_seed(3)
        expected = sample(6, 1.0, generator, context, denoise=0.1)
        np.testing.assert_allclose(clean.samples[role], expected.clamp(0, 1), atol=1e-4)
    with pytest.raises(RunError, match="guided"):
        explorer.answer(Sample(str(guided), 1, 6, 1.0, options=SampleOptions(guidance=-1.0)))
    origin = Origin("sample", 4, "teacher", 6, 1.0, 3, options=SampleOptions(guidance=3.0))
    same = Interpolate(str(guided), 1, origin, origin, "linear", 3)
    np.testing.assert_allclose(explorer.answer(same).ends[0], moved.samples["teacher"][4], atol=1e-5)


def test_flows_that_sample_token_by_token_are_iterated(guided: Path) -> None:
    exact, iterated = (
        Explorer().answer(Sample(str(guided), 1, 6, 1.0, noise_seed=3, options=SampleOptions(jacobi=tolerance)))
        for tolerance in (None, 0.0)
    )
    assert (exact.iterated, iterated.iterated) == ([], ["teacher"])
    for role in ("teacher", "student"):
        np.testing.assert_allclose(iterated.samples[role], exact.samples[role], atol=1e-4)
    with pytest.raises(RunError, match="Tolerance is -1"):
        Explorer().answer(Sample(str(guided), 1, 6, 1.0, options=SampleOptions(jacobi=-1.0)))
    report = Explorer().answer(ReadLikelihood(str(guided), seed=1, count=20))
    assert list(report.iterations) == ["teacher"]
    assert [(block.name, block.tokens) for block in report.iterations["teacher"]] == [("block 2", 16), ("block 1", 16)]
    assert all(1 <= block.iterations <= 16 for block in report.iterations["teacher"])


def test_guidance_and_denoising_without_what_they_need_are_refused(images: Path) -> None:
    for options, reason in (
        (SampleOptions(guidance=1.0), "none of this run's flows is one"),
        (SampleOptions(denoise=True), "no Gaussian noise"),
        (SampleOptions(jacobi=0.01), "samples in one pass"),
    ):
        with pytest.raises(RunError, match=reason):
            Explorer().answer(Sample(str(images), 1, 4, 1.0, options=options))
