"""Columns with repeated values: how they are recognised, what noise they get, and the bound on their probability."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nfkd
from nfkd.config import ExperimentConfig
from nfkd.config.data import TableConfig
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.data.dequantization import AtomNoise, GridNoise, column_noise
from nfkd.data.units import DataUnits, evaluation_noise, units_from_json
from tests.core.tiny import moons

RNG = np.random.default_rng(5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_of(values: Any) -> dict[str, Any]:
    found = column_noise(np.asarray(values, np.float64))
    return {} if found is None else found.to_dict()


def table(folder: Path, columns: dict[str, np.ndarray], **settings: Any) -> TableConfig:
    names = ",".join(columns)
    np.savetxt(folder / "rows.csv", np.stack(list(columns.values()), 1), delimiter=",", header=names, comments="")
    return TableConfig(path=str(folder / "rows.csv"), **settings)


# --- the steps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "origin", "step"),
    [
        (RNG.poisson(3, 500), 0.0, 1.0),
        (RNG.integers(0, 2, 500), 0.0, 1.0),
        (RNG.choice([-4.0, 2.0, 8.0], 500), 2.0, 6.0),
        (np.round(RNG.normal(size=3000), 1), 0.0, 0.1),
        (np.round(RNG.normal(size=3000), 1).astype(np.float32), 0.0, 0.1),
        (1000 + np.round(RNG.normal(size=3000), 1).astype(np.float32), 0.0, 0.1),
        (RNG.integers(0, 5, 400) / 3, 0.0, 1 / 3),
        (np.append(RNG.poisson(3, 500), [4_000_000_000] * 8), 0.0, 1.0),
        (5 * RNG.integers(0, 9, 300) + 2, 2.0, 5.0),
    ],
)
def test_the_step_of_a_grid(values: np.ndarray, origin: float, step: float) -> None:
    found = noise_of(values)
    assert found["kind"] == "grid"
    assert found["step"] == pytest.approx(step)
    assert found["origin"] == pytest.approx(origin)


def test_a_spike_becomes_an_interval_as_wide_as_the_quartiles_of_the_rest() -> None:
    rest = RNG.exponential(size=200)
    low, high = np.percentile(rest, [25, 75])
    assert noise_of(np.append(np.zeros(800), rest)) == {
        "kind": "atoms",
        "values": [0.0],
        "width": pytest.approx(high - low),
        "every": False,
    }
    clipped = RNG.normal(size=1000).clip(-0.8, 1.2)
    assert noise_of(clipped)["values"] == [-0.8, 1.2]


def test_few_values_at_uneven_distances_are_all_atoms() -> None:
    found = noise_of(RNG.choice([0.1234, 0.5, 7.3, 100.0], 400))
    assert found == {"kind": "atoms", "values": [0.1234, 0.5, 7.3, 100.0], "width": (100 - 0.1234) / 3, "every": True}


def test_values_that_are_not_repeated_have_no_noise() -> None:
    assert noise_of(RNG.normal(size=500)) == {}


# --- the maps ---------------------------------------------------------------------------------------------------------

METHODS = [
    GridNoise(0.0, 1.0),
    GridNoise(0.03, 0.1),
    GridNoise(2.0, 5.0),
    AtomNoise([0.0], 3.0, every=False),
    AtomNoise([-0.8, 1.2], 0.7, every=False),
]


@given(st.integers(0, 4), st.integers(-40, 40), st.floats(-50, 50), st.floats(0, 1 - 1e-8))
@settings(max_examples=300)
def test_noise_is_taken_away_exactly(method: int, k: int, free: float, u: float) -> None:
    noise = METHODS[method]
    values = [noise.origin + k * noise.step] if isinstance(noise, GridNoise) else [*noise.values, free]  # type: ignore[attr-defined]
    x = torch.tensor(values, dtype=torch.float64)
    y = noise.spread(x, torch.full_like(x, u))
    torch.testing.assert_close(noise.collect(y), x, rtol=1e-12, atol=1e-9)
    assert (y >= x - 1e-12).all()


def test_decimals_come_back_as_they_were() -> None:
    x = torch.tensor([0.3, -1.7, 12.9], dtype=torch.float64)
    assert GridNoise(0.0, 0.1).collect(
        GridNoise(0.0, 0.1).spread(x, torch.rand(3, generator=generator()))
    ).tolist() == [
        0.3,
        -1.7,
        12.9,
    ]


def test_the_map_of_atoms_keeps_order_and_lengths_between_them() -> None:
    noise, x = AtomNoise([-0.8, 1.2], 0.7, every=False), torch.linspace(-3, 3, 601, dtype=torch.float64)
    y = noise.spread(x, torch.zeros_like(x))
    assert (y.diff() > 0).all()
    middles = (x[1:] + x[:-1]) / 2
    away = ((middles + 0.8).abs() > 0.02) & ((middles - 1.2).abs() > 0.02)
    torch.testing.assert_close(y.diff()[away], x.diff()[away])
    assert y[-1] - x[-1] == pytest.approx(1.4)


# --- the bound --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["none", "standard", "robust"])
@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [0.1, 0.4, 0.7], [0.1234, 0.5, 7.3]])
def test_the_exact_density_has_the_probability_of_every_value(
    values: list[float], scaling: Any, tmp_path: Path
) -> None:
    p = np.array([0.5, 0.3, 0.2])
    x = np.repeat(values, (400 * p).astype(int))
    dataset = load_dataset(table(tmp_path, {"x": RNG.permutation(x)}, scaling=scaling, dequantize=("x",)))
    assert dataset.unit == "nats"
    assert dataset.dequantizer is not None
    (noise,) = dataset.dequantizer.columns.values()
    width = math.exp(noise.log_volume)
    slope = 1.0 if dataset.scaler is None else math.exp(dataset.units.log_volume((1,)) - noise.log_volume)
    for value, share in zip(values, p, strict=True):
        # p(y) is share/width on the value's interval, and the density of z is that of y over dz/dy
        log_density = torch.tensor([math.log(share / width / slope)], dtype=torch.float64)
        assert float(dataset.nll(log_density)) == pytest.approx(-math.log(share))
        z = dataset.units.to_scaled(torch.tensor([[value]], dtype=torch.float64))
        assert float(dataset.units.to_data(z)) == pytest.approx(value)


def test_a_trained_flow_stays_above_the_entropy_and_comes_near(tmp_path: Path) -> None:
    p = np.array([0.4, 0.1, 0.3, 0.2])
    counts = RNG.permutation(np.repeat(np.arange(4), (2000 * p).astype(int)))
    data = {"kind": "table", "path": table(tmp_path, {"n": counts}).path, "dequantize": ["n"]}
    flow = {"kind": "nsf", "transform": "autoregressive", "steps": 2, "hidden": 16}
    training = {"teacher_steps": 150, "student_steps": 2, "baseline": False, "early_stop": 0, "batch_size": 256}
    values = moons(training=training).model_dump(mode="json") | {"data": data, "teacher": flow, "student": flow}
    run = nfkd.run(ExperimentConfig.from_dict(values), tmp_path / "run")
    teacher, dataset = run.load_teacher(), load_dataset(run.config.data)
    test = dataset.test.values[:]
    frequencies = np.array([(test == value).mean() for value in range(4)])
    entropy = -(frequencies * np.log(p)).sum()
    figure = run.snapshot().stages[0].summary.test  # type: ignore[union-attr]
    assert entropy - 0.02 < figure < entropy + 0.25
    assert teacher.nll(test).mean() == pytest.approx(figure, abs=1e-5)
    # The mass of every value, integrated over its step, is at least the bound.
    assert dataset.scaler is not None
    assert dataset.scaler.affine is not None
    (centre,), (scale,) = dataset.scaler.affine
    for value in range(4):
        y = value + (torch.arange(2000, dtype=torch.float64)[:, None] + 0.5) / 2000
        density = teacher.scaled.log_prob(((y - centre) / scale).float()).detach().double() - math.log(scale)
        assert float(density.mean()) <= math.log(float(density.exp().mean())) + 1e-9
    samples = teacher.sample(200, generator=generator())
    assert torch.equal(samples, samples.round())


def test_a_spike_does_not_let_the_figure_fall_without_limit(tmp_path: Path) -> None:
    rain = np.where(RNG.random(600) < 0.8, 0.0, RNG.exponential(3, 600))
    path = table(tmp_path, {"x": RNG.normal(size=600), "rain": rain}).path
    flow = {"kind": "nsf", "steps": 2, "hidden": 16}
    curves = {}
    for dequantize in ([], ["rain"]):
        training = {"teacher_steps": 150, "student_steps": 1, "baseline": False, "early_stop": 0}
        values = moons(training=training, monitor={"evaluate_every": 50}).model_dump(mode="json")
        values |= {"data": {"kind": "table", "path": path, "dequantize": dequantize}, "teacher": flow, "student": flow}
        run = nfkd.run(ExperimentConfig.from_dict(values), tmp_path / f"run-{len(dequantize)}")
        curves[bool(dequantize)] = run.curves["teacher"]["validation/nll"].values
    # The best density of the spread column: entropies of N(0, 1), the choice, the interval and the exponential.
    width = column_noise(rain).width  # type: ignore[union-attr]
    best = 0.5 * math.log(2 * math.pi * math.e) - 0.8 * math.log(0.8 / width) + 0.2 * (1 + math.log(3) - math.log(0.2))
    assert curves[True].min() > best - 0.4
    assert curves[False][-1] < best - 1
    assert abs(curves[True][-1] - curves[True][-2]) < 0.2


# --- the data set -----------------------------------------------------------------------------------------------------


def columns() -> dict[str, np.ndarray]:
    return {"x": RNG.normal(size=300), "n": RNG.poisson(3, 300), "flag": RNG.integers(0, 2, 300)}


def test_noise_is_new_in_training_and_the_same_in_evaluations(tmp_path: Path) -> None:
    dataset = load_dataset(table(tmp_path, columns(), dequantize=("n", "flag")))
    first, second = (dataset.batch(dataset.test, evaluation_noise()).x for _ in range(2))
    assert torch.equal(first, second)
    stream = generator()
    third, fourth = (dataset.batch(dataset.test, stream).x for _ in range(2))
    assert torch.equal(third[:, 0], first[:, 0])
    assert not torch.equal(third[:, 1], fourth[:, 1])
    rows = dataset.units.to_data(third)[:, 1:]
    assert torch.equal(rows, torch.from_numpy(dataset.test.values[:])[:, 1:])
    steps = 1 / dataset.scaler.affine[1][1:]  # type: ignore[index, union-attr]
    middles = torch.from_numpy(dataset.scaled(dataset.test.values[:]))[:, 1:]
    noise = torch.cat([x[:, 1:] - middles for x in (first, third, fourth)]) / torch.from_numpy(steps)
    assert noise.min() >= -0.5 - 1e-5
    assert noise.max() <= 0.5 + 1e-5
    assert noise.std() == pytest.approx(1 / math.sqrt(12), rel=0.1)


def test_without_the_field_nothing_changes(tmp_path: Path) -> None:
    plain = load_dataset(table(tmp_path, columns()))
    noisy = load_dataset(TableConfig(path=str(tmp_path / "rows.csv"), dequantize=("n",)))
    assert plain.fingerprint is not None
    assert noisy.fingerprint is not None
    assert plain.fingerprint() == noisy.fingerprint()
    assert plain.test.values[:].dtype == np.float32
    assert set(json.loads(plain.units.to_json())) == {"levels", "values", "context", "standardised"}


def test_auto_takes_the_columns_with_repeated_values(tmp_path: Path) -> None:
    dataset = load_dataset(table(tmp_path, columns(), dequantize=("auto",)))
    assert dataset.dequantizer is not None
    assert list(dataset.dequantizer.columns) == [1, 2]
    smooth = load_dataset(table(tmp_path, {"x": RNG.normal(size=300)}, dequantize=("auto",)))
    assert smooth.dequantizer is None


def test_counts_with_quantile_scaling_keep_their_noise(tmp_path: Path) -> None:
    counts = np.append(RNG.poisson(4, 400), [4_000_000_000] * 8)
    dataset = load_dataset(table(tmp_path, {"n": RNG.permutation(counts)}, dequantize=("n",), scaling="quantile"))
    assert dataset.unit == "nats (scaled)"
    x = dataset.batch(dataset.train, generator()).x
    assert len(x.unique()) > 0.9 * len(x)
    back = dataset.units.to_data(x.double())
    small = dataset.train.values[:] < 100
    assert (back.numpy()[small] == dataset.train.values[:][small]).mean() > 0.97


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("m",), "no modelled column has the name 'm': there are x, n, flag"),
        (("flags",), "did you mean flag?"),
        (("n", "n"), "column n is named twice"),
        (("x",), "column x has no repeated values: leave it out here"),
    ],
)
def test_wrong_names_are_refused(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(table(tmp_path, columns(), dequantize=names))
    (problem,) = refused.value.problems
    assert problem.path == "data.dequantize"
    assert message in problem.message


def units_of(dataset: Dataset) -> DataUnits:
    return units_from_json(dataset.units.to_json(), dataset.event_shape, 0)


def test_units_come_back_from_json(tmp_path: Path) -> None:
    data = columns() | {"rain": np.where(RNG.random(300) < 0.5, 0.0, RNG.exponential(size=300))}
    dataset = load_dataset(table(tmp_path, data, dequantize=("n", "rain")))
    units, rows = units_of(dataset), torch.from_numpy(dataset.test.values[:])
    assert torch.equal(units.to_scaled(rows), dataset.units.to_scaled(rows))
    assert units.log_volume((4,)) == dataset.units.log_volume((4,))


@pytest.mark.parametrize(
    "noise",
    [
        [],
        3,
        [{}],
        [{"column": 9, "kind": "grid", "origin": 0, "step": 1}],
        [{"column": 0, "kind": "grid", "origin": 0, "step": 0}],
        [{"column": 0, "kind": "grid", "origin": 0, "step": -1}],
        [{"column": 0, "kind": "grid", "origin": 0, "step": math.inf}],
        [{"column": 0, "kind": "atoms", "values": [], "width": 1, "every": True}],
        [{"column": 0, "kind": "atoms", "values": [1, 0], "width": 1, "every": True}],
        [{"column": 0, "kind": "atoms", "values": [[1]], "width": 1, "every": True}],
        [{"column": 0, "kind": "atoms", "values": ["a"], "width": 1, "every": True}],
    ],
)
def test_damaged_units_are_refused(noise: Any) -> None:
    fields = {"levels": None, "values": None, "context": None, "standardised": False, "noise": noise}
    with pytest.raises(ValueError, match="noise"):
        units_from_json(json.dumps(fields), (2,), 0)
