"""Examples and points on their way through the layers, against the flows themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from nfkd.config import Glow1DConfig
from nfkd.data import DataError
from nfkd.evaluation.likelihood import noisy
from nfkd.flows.architectures import build_flow
from nfkd.inspect import OpenedRun, Origin, layers, plane
from nfkd.protocol.inspection import FlowStates
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run


def probe_sum(states: FlowStates) -> float:
    """Base term plus one log-determinant a layer, as the probe shows it."""
    changes = [after - before for before, after in pairwise([0.0, *(layer.log_det for layer in states.layers)])]
    return states.base_log_prob + sum(changes)


def test_states_are_those_of_the_trace(points: OpenedRun, images: OpenedRun, columns: OpenedRun) -> None:
    for opened in (points, images, columns):
        record = open_run(opened.run)
        dataset = opened.dataset
        example = noisy(dataset, dataset.validation).take([5])
        reply = layers(opened, Origin("validation", 5))
        loaded = {
            "teacher": record.load_teacher(),
            "student": record.load_student(),
            "baseline": record.load_baseline(),
        }
        assert reply.flows.keys() == loaded.keys()
        for role, flow in loaded.items():
            states = reply.flows[role]  # type: ignore[index]
            with torch.no_grad():
                traced, encoded = flow.scaled.trace(example.x), flow.scaled.encode(example.x)
                log_prob = float(flow.scaled.log_prob(example.x))
            assert [layer.name for layer in states.layers] == list(traced)
            for layer in states.layers:
                value, log_det = traced[layer.name]
                np.testing.assert_allclose(layer.value, value[0], rtol=1e-5, atol=1e-6)
                assert layer.log_det == pytest.approx(float(log_det[0]), rel=1e-5, abs=1e-5)
            for part, expected in zip(states.latents, encoded.parts, strict=True):
                np.testing.assert_allclose(part, expected[0], rtol=1e-5, atol=1e-6)
            assert states.log_prob == pytest.approx(log_prob, rel=1e-5)
            assert probe_sum(states) == pytest.approx(states.log_prob, rel=1e-5)


def test_the_base_term_of_the_probe_is_the_normal_density_of_the_latents(points: OpenedRun) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        point = rng.normal(size=2).astype(np.float32)
        for states in layers(points, Origin("values", values=point)).flows.values():
            expected = stats.norm.logpdf(states.latents[-1].astype(float)).sum()
            assert states.base_log_prob == pytest.approx(expected, rel=1e-4, abs=1e-5)
            np.testing.assert_array_equal(states.example, point)


def test_decoding_from_a_level_replaces_the_latents_before_it(images: OpenedRun) -> None:
    mean = layers(images, Origin("test", 2)).flows["student"]
    fresh = layers(images, Origin("test", 2), rest="noise").flows["student"]
    flow = images.flows["student"]
    assert [layer.splits for layer in mean.layers] == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(mean.decoded[0], mean.example)
    kept = torch.from_numpy(mean.latents[-1])[None]
    with torch.no_grad():
        noise = flow.noise_of(torch.from_numpy(mean.example)[None])
        expected = flow.synthesize([torch.zeros_like(noise[0]), noise[1]])
        np.testing.assert_allclose(mean.decoded[1], expected[0].clamp(0, 1), atol=1e-4)
        again = flow.encode(flow.synthesize([torch.zeros_like(noise[0]), noise[1]])).parts[-1]
        np.testing.assert_allclose(again, kept, atol=1e-3)
    assert not np.allclose(fresh.decoded[1], mean.decoded[1], atol=1e-3)


def test_each_flow_has_its_own_sample_or_all_have_that_of_one(points: OpenedRun) -> None:
    own = layers(points, Origin("sample", 4, noise_seed=3)).flows
    noise = points.flows["student"].draw_noise(64, torch.Generator().manual_seed(3))[0][4]
    for states in own.values():
        np.testing.assert_allclose(states.latents[-1], noise, atol=1e-5)
    shared = layers(points, Origin("sample", 4, role="teacher", noise_seed=3)).flows
    for states in shared.values():
        np.testing.assert_array_equal(states.example, own["teacher"].example)


def test_points_of_a_flow_with_a_learned_prior_are_its_samples(points: OpenedRun) -> None:
    config = Glow1DConfig(steps=2, hidden=4, learned_prior=True)
    flow = build_flow(config, (2,), generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in flow.prior.parameters():  # type: ignore[union-attr]
            parameter.add_(0.7)
    flow.initialize(torch.randn(64, 2, generator=torch.Generator().manual_seed(1)))
    opened = replace(points, flows={"student": flow.requires_grad_(requires_grad=False)})
    reply = plane(opened, count=30, noise_seed=5)
    samples = flow.sample(30, generator=torch.Generator().manual_seed(5))
    np.testing.assert_allclose(reply.flows["student"].points[0], samples, atol=1e-4)
    np.testing.assert_allclose(reply.noise, flow.draw_noise(30, torch.Generator().manual_seed(5))[0])
    mean, log_scale = flow.prior(torch.zeros(1, 2), None)  # type: ignore[misc]
    rings = (reply.flows["student"].rings[-1] - mean.numpy()) / log_scale.exp().numpy()
    radii = np.linalg.norm(rings, axis=-1)
    np.testing.assert_allclose(radii, np.broadcast_to([[1.0], [2.0]], radii.shape), rtol=1e-4)


def test_a_sample_is_that_of_the_whole_batch(points: OpenedRun, images: OpenedRun) -> None:
    for opened in (points, images):
        flow = opened.flows["teacher"]
        batch = flow.sample(12, 0.8, torch.Generator().manual_seed(4))
        states = layers(opened, Origin("sample", 7, "teacher", 12, 0.8, 4)).flows["teacher"]
        np.testing.assert_allclose(states.example, opened.dataset.to_picture(batch[7:8])[0], atol=1e-5)


def test_points_of_the_plane_go_from_the_data_to_their_noise(points: OpenedRun) -> None:
    for grid in ("noise", "data"):
        reply = plane(points, count=50, noise_seed=8, grid=grid)
        for role, moved in reply.flows.items():
            flow = points.flows[role]
            noise = flow.draw_noise(50, torch.Generator().manual_seed(8))[0]
            np.testing.assert_allclose(moved.points[-1], noise, atol=1e-6)
            with torch.no_grad():
                traced = flow.trace(torch.from_numpy(moved.points[0].copy()))
                lines = torch.from_numpy(moved.grid[0].reshape(-1, 2).copy())
                grid_states = flow.trace(lines)
            assert moved.names == list(traced)
            for number, name in enumerate(traced, 1):
                np.testing.assert_allclose(moved.points[number], traced[name][0], atol=1e-4)
                expected = grid_states[name][0].reshape(moved.grid[number].shape)
                np.testing.assert_allclose(moved.grid[number], expected, atol=1e-3)
            regular = moved.grid[-1 if grid == "noise" else 0]
            steps = np.diff(regular[:17, 0, 0])  # the vertical lines
            np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
            assert (np.ptp(regular[:17, :, 0], axis=1) < 1e-5).all()
            radii = np.linalg.norm(moved.rings[-1], axis=-1)
            np.testing.assert_allclose(radii, np.broadcast_to([[1.0], [2.0]], radii.shape), rtol=1e-4)


def test_given_values_are_in_the_units_of_pictures_or_scaled(columns: OpenedRun) -> None:
    row = np.array([1010.0, 0.001, 0.5])
    scaled = columns.dataset.units.to_scaled(torch.from_numpy(row)[None])[0].float().numpy()
    by_units = layers(columns, Origin("values", values=row)).flows["student"]
    by_scaled = layers(columns, Origin("scaled", values=scaled)).flows["student"]
    np.testing.assert_allclose(by_units.example, scaled, rtol=1e-4)
    np.testing.assert_array_equal(by_scaled.example, scaled)


def test_the_plane_needs_two_features(images: OpenedRun, columns: OpenedRun) -> None:
    for opened in (images, columns):
        with pytest.raises(RunError, match="cannot be drawn in the plane"):
            plane(opened)


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (Origin("validation", 60), "no such example"),
        (Origin("test", -1), "no such example"),
        (Origin("sample", 64), "no such example"),
        (Origin("sample", 0, count=100_000), "too large"),
        (Origin("values"), "does not fit"),
        (Origin("values", values=np.zeros(3)), "does not fit"),
        (Origin("sample", 0, role="assistant-1"), "no assistant 1"),
    ],
)
def test_what_is_no_example_is_refused(points: OpenedRun, origin: Origin, message: str) -> None:
    with pytest.raises(RunError, match=message):
        layers(points, origin)


def test_an_image_file_is_read_in_the_size_and_levels_of_the_data(images: OpenedRun, tmp_path: Path) -> None:
    shades = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    Image.fromarray(shades).save(tmp_path / "shades.png")
    states = layers(images, Origin("file", path=str(tmp_path / "shades.png"))).flows["student"]
    levels = images.dataset.levels
    assert levels == 17
    expected = np.arange(64).reshape(8, 8) * 4 * levels // 256
    np.testing.assert_array_equal(np.floor(states.example[0] * levels), expected)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="not an image"):
        layers(images, Origin("file", path=str(tmp_path / "text.png")))
    with pytest.raises(DataError, match="no such file"):
        layers(images, Origin("file", path=str(tmp_path / "missing.png")))


def test_a_row_of_a_file_is_read_by_the_names_of_its_columns(columns: OpenedRun, tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("angle,other,width,mass\n1,7,0.002,1100\n-2,7,0.001,900\n,7,0,1\n")
    states = layers(columns, Origin("file", 1, path=str(path))).flows["student"]
    own = torch.tensor([[900.0, 0.001, -2.0]], dtype=torch.float64)
    np.testing.assert_allclose(states.example, columns.dataset.units.to_scaled(own)[0].float(), rtol=1e-5)
    with pytest.raises(DataError, match="row 2 has missing"):
        layers(columns, Origin("file", 2, path=str(path)))
    with pytest.raises(RunError, match="no such example"):
        layers(columns, Origin("file", 3, path=str(path)))
    path.write_text("angle,width\n1,2\n")
    with pytest.raises(DataError, match="no column mass"):
        layers(columns, Origin("file", path=str(path)))
