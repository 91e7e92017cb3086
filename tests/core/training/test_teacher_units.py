"""Teachers in other units than scaled values, and the warning about teachers worse than a Gaussian."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import nfkd
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.data import load_dataset
from nfkd.evaluation.gaussian import gaussian_nll
from nfkd.evaluation.likelihood import noisy
from nfkd.planning.describe import describe
from nfkd.planning.teachers import gaussian_warning, on_scaled_values, with_teacher
from nfkd.protocol.events import LogLine
from tests.core.tiny import digits, moons

nf = pytest.importorskip("normflows")
zuko = pytest.importorskip("zuko")

MEAN, DEVIATION = np.array([100.0, -3.0]), np.array([5.0, 0.02])
QUICK = {"teacher_steps": 2, "student_steps": 2, "baseline": False}
ONLY_NLL = {name: {"weight": float(name == "nll")} for name in ("nll", "lkd", "ilkd", "skd")}


def table(folder: Path, **data: Any) -> ExperimentConfig:
    """Return an experiment on two independent Gaussian columns far from zero, with two columns for the context."""
    rng = np.random.default_rng(0)
    rows = np.hstack([rng.normal(size=(400, 2)) * DEVIATION + MEAN, 50 + 5 * rng.normal(size=(400, 2))])
    np.save(folder / "rows.npy", rows)
    values = moons(training=QUICK, distillation=ONLY_NLL).model_dump(mode="json")
    named = {"kind": "table", "path": str(folder / "rows.npy"), "columns": ["0", "1"]}
    return ExperimentConfig.from_dict(values | {"data": named | data})


def held_out(config: ExperimentConfig) -> np.ndarray:
    data: Any = config.data
    return np.load(data.path)[np.random.default_rng(0).permutation(400)[60:120]]


def gaussian(mean: np.ndarray, deviation: np.ndarray) -> Any:
    """Return a Gaussian as a flow of normflows: its base and an identity layer."""
    shape: Any = mean.shape
    base = nf.distributions.DiagGaussian(shape if len(shape) > 1 else shape[0])
    base.loc.data = torch.tensor(mean[None], dtype=torch.float32)
    base.log_scale.data = torch.tensor(np.log(deviation)[None], dtype=torch.float32)
    return nf.NormalizingFlow(base, [nf.flows.AffineConstFlow(shape)])


def conditional_maf() -> Any:
    torch.manual_seed(0)
    return zuko.flows.MAF(2, 2, transforms=2, hidden_features=(8, 8))


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["standard", "robust", "none"])
def test_a_teacher_in_units_of_the_data_keeps_its_own_nll(scaling: str, tmp_path: Path) -> None:
    config = table(tmp_path, scaling=scaling)
    teacher = nfkd.wrap_teacher(gaussian(MEAN, DEVIATION), units="data")
    lines: list[str] = []
    record = nfkd.run(config, tmp_path / "run", lambda event: lines.append(getattr(event, "text", "")), teacher=teacher)
    expected = -stats.norm.logpdf(held_out(config)[:, :2], MEAN, DEVIATION).sum(axis=1).mean()
    results = {summary.stage: summary.test for summary in record.summary}
    assert results["teacher"] == pytest.approx(expected, abs=1e-3)
    assert not [line for line in lines if "Gaussian" in line]


def test_a_teacher_in_the_wrong_units_gives_a_warning(tmp_path: Path) -> None:
    lines: list[LogLine] = []
    nfkd.run(
        table(tmp_path),
        tmp_path / "run",
        lambda event: lines.append(event) if isinstance(event, LogLine) else None,
        teacher=nfkd.wrap_teacher(gaussian(MEAN, DEVIATION)),
    )
    (line,) = [line for line in lines if "Gaussian" in line.text]
    assert line.level == "warning"
    for part in ("data.scaling", "units of nfkd.wrap_teacher", "not trained well enough"):
        assert part in line.text


@pytest.mark.parametrize("change", [-1e-3, 0.0, 1e-3])
def test_a_teacher_slightly_worse_than_a_gaussian_gives_a_warning_with_both_values(
    change: float, tmp_path: Path
) -> None:
    dataset = load_dataset(table(tmp_path).data)
    expected = gaussian_nll(dataset)
    warning = gaussian_warning(expected + change, dataset)
    assert bool(warning) == (change > 0)
    if warning:
        assert f"({expected + change:.4f} nats)" in warning
        assert f"({expected:.4f} nats)" in warning


def test_a_weights_file_with_another_scaling_gives_a_warning(tmp_path: Path) -> None:
    first = nfkd.run(table(tmp_path), tmp_path / "first")
    assert not [line for line in first.snapshot().log if "Gaussian" in line.text]
    config = table(tmp_path, scaling="none").replace(training={"teacher_weights": str(first.path)})
    second = nfkd.run(config, tmp_path / "second")
    assert [line.level for line in second.snapshot().log if "than a Gaussian" in line.text] == ["warning"]


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_the_teacher_gets_contexts_in_the_units_of_the_file(scaling: str, tmp_path: Path) -> None:
    module, config = conditional_maf(), table(tmp_path, context=["2", "3"], scaling=scaling)
    dataset, raw = load_dataset(config.data), torch.from_numpy(held_out(config)).float()
    batch = noisy(dataset, dataset.test)
    teacher = on_scaled_values(nfkd.wrap_teacher(module, units="data"), dataset)
    with torch.no_grad():
        expected = module(raw[:, 2:]).log_prob(raw[:, :2]).double()
        torch.testing.assert_close(
            -dataset.nll(teacher.log_prob(batch.x, batch.context)).double(), expected, rtol=1e-3, atol=0.01
        )
        latents = teacher.encode(batch.x, batch.context)
        torch.testing.assert_close(latents.parts[-1], module(raw[:, 2:]).transform(raw[:, :2]), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(teacher.decode(latents, batch.context), batch.x, rtol=1e-3, atol=1e-3)
        noise = teacher.draw_noise(60, torch.Generator().manual_seed(0))
        drawn = dataset.units.to_data(teacher.synthesize(noise, 0.5, batch.context)).float()
        torch.testing.assert_close(drawn, module(raw[:, 2:]).transform.inv(0.5 * noise[0]), rtol=1e-4, atol=1e-3)


def test_the_log_determinant_includes_the_map_between_units(tmp_path: Path) -> None:
    dataset = load_dataset(table(tmp_path, context=["2", "3"]).data)
    teacher = on_scaled_values(nfkd.wrap_teacher(conditional_maf().double(), units="data"), dataset)
    batch = noisy(dataset, dataset.test.take(slice(3)))
    assert batch.context is not None
    x, context = batch.x.double(), batch.context.double()
    found = teacher(x, context, trace=True)
    for number in range(3):
        given = context[number : number + 1]

        def latents(one: Tensor, given: Tensor = given) -> Tensor:
            return teacher.encode(one[None], given).flat()[0]

        jacobian: Any = torch.autograd.functional.jacobian(latents, x[number])
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, found.latents.log_det[number])
    assert teacher.layer_info()[0].name == "units"
    torch.testing.assert_close(found.trace["units"][0], dataset.units.to_data(x))


def test_a_teacher_in_data_units_is_refused_for_quantile_scaling(tmp_path: Path) -> None:
    config = table(tmp_path, scaling="quantile")
    cases: list[tuple[Any, list[str]]] = [("data", ["data.scaling"]), ("scaled", [])]
    for units, paths in cases:
        teacher = nfkd.wrap_teacher(gaussian(MEAN, DEVIATION), units=units)
        description = describe(with_teacher(config, teacher), teacher=teacher)
        assert [problem.path for problem in description.problems] == paths
    with pytest.raises(ConfigError, match=r"units='data'.*choose standard, robust or none"):
        nfkd.run(config, tmp_path / "run", teacher=nfkd.wrap_teacher(gaussian(MEAN, DEVIATION), units="data"))


# --- images -----------------------------------------------------------------------------------------------------------

RANGES: list[Any] = [(0, 1), (-1, 1), (-0.5, 0.5), (0.0, 255.0), "data"]


def pixels(units: Any) -> tuple[float, float]:
    return (0.0, 17.0) if units == "data" else units


@pytest.mark.parametrize("units", RANGES, ids=str)
def test_the_teacher_gets_images_in_its_range(units: Any) -> None:
    """Compare with the bits/dim of a Gaussian over pixels of that range; samples are between 0 and 1."""
    low, high = pixels(units)
    mean, deviation = np.full((1, 8, 8), low + 0.3 * (high - low)), np.full((1, 8, 8), 0.4 * (high - low))
    dataset = load_dataset(digits().data)
    batch = noisy(dataset, dataset.test.take(slice(20)))
    teacher = on_scaled_values(nfkd.wrap_teacher(gaussian(mean, deviation), (1, 8, 8), units=units), dataset)
    r = low + (high - low) * batch.x.double().numpy()
    nats = -stats.norm.logpdf(r, mean, deviation).sum(axis=(1, 2, 3)) - 64 * math.log(high - low)
    with torch.no_grad():
        bits = dataset.nll(teacher.log_prob(batch.x)).double().numpy()
        np.testing.assert_allclose(bits, nats / (64 * math.log(2)) + math.log2(17), rtol=1e-4)
        drawn = teacher.sample(500, generator=torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.02)
    assert drawn.std().item() == pytest.approx(0.4, abs=0.02)


def test_a_run_on_images_uses_the_range(tmp_path: Path) -> None:
    config = digits(training=QUICK, distillation=ONLY_NLL)
    dataset = load_dataset(config.data)
    x = 2 * noisy(dataset, dataset.train).x.double().numpy() - 1
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    teacher = nfkd.wrap_teacher(gaussian(mean, deviation), (1, 8, 8), units=(-1, 1))
    record = nfkd.run(config, tmp_path / "run", teacher=teacher)
    r = 2 * noisy(dataset, dataset.test).x.double().numpy() - 1
    nats = -stats.norm.logpdf(r, mean, deviation).sum(axis=(1, 2, 3)).mean() - 64 * math.log(2)
    expected = nats / (64 * math.log(2)) + math.log2(17)
    assert {summary.stage: summary.test for summary in record.summary}["teacher"] == pytest.approx(expected, abs=1e-3)


# --- saved and refused ------------------------------------------------------------------------------------------------


def test_a_run_saves_the_units_and_is_resumed_only_with_them(tmp_path: Path) -> None:
    config, module = table(tmp_path), gaussian(MEAN, DEVIATION)
    choices: list[Any] = ["scaled", "data"]
    names = {
        units: with_teacher(config, nfkd.wrap_teacher(module, units=units)).training.teacher_weights
        for units in choices
    }
    assert names["data"] == f"{names['scaled']} units:data"
    half: Any = np.float32(0.5)
    image = nfkd.wrap_teacher(gaussian(np.zeros((1, 8, 8)), np.ones((1, 8, 8))), (1, 8, 8), units=(-half, half))
    assert with_teacher(digits(), image).training.teacher_weights.endswith(" units:-0.5..0.5")
    nfkd.run(config, tmp_path / "run", teacher=nfkd.wrap_teacher(module, units="data"))
    nfkd.run(config, tmp_path / "run", resume=True, teacher=nfkd.wrap_teacher(module, units="data"))
    with pytest.raises(ConfigError, match=r"teacher_weights.*units:data, not .*same units"):
        nfkd.run(config, tmp_path / "run", resume=True, teacher=nfkd.wrap_teacher(module))
    with pytest.raises(ConfigError, match=r"teacher_weights.*units:data, not one that is trained"):
        nfkd.run(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("units", "error", "message"),
    [
        ("raw", ValueError, "choose 'scaled', 'data'"),
        ("", ValueError, "choose 'scaled', 'data'"),
        ((1, 0), ValueError, "from a lower to a higher"),
        ((0, 0), ValueError, "from a lower to a higher"),
        ((0, math.inf), ValueError, "from a lower to a higher"),
        ((math.nan, 1), ValueError, "from a lower to a higher"),
        ((0, 1), ValueError, "a range is for images"),
        ((0, 1, 2), TypeError, "two numbers"),
        ((0, "1"), TypeError, "two numbers"),
        ((False, True), TypeError, "two numbers"),
        (None, TypeError, "two numbers"),
        (255, TypeError, "two numbers"),
    ],
)
def test_invalid_units_are_refused(units: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nfkd.wrap_teacher(gaussian(MEAN, DEVIATION), units=units)


def test_a_teacher_for_other_data_is_refused_whatever_its_units(tmp_path: Path) -> None:
    config = table(tmp_path)
    wide = nfkd.wrap_teacher(gaussian(np.zeros(3), np.ones(3)), units="data")
    problems = describe(with_teacher(config, wide), teacher=wide).problems
    assert any("for examples of 3" in problem.message for problem in problems)
