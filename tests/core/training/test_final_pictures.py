"""The final pictures of a stage show the weights that are saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nfkd
from nfkd.protocol import events
from nfkd.protocol.view import RunView
from nfkd.runs.reader import RunRecord
from tests.core.runs.written import opened
from tests.core.tiny import moons

ROLES = ("teacher", "student", "baseline")


@pytest.fixture(scope="module")
def worse_at_the_end(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, list[events.RunEvent]]:
    """Return a run whose flows overfit a few points, so that their best steps are before the last ones.

    Rounding differs between processors, and so does the course of such a run: the first seed that has one is taken.
    """
    training = {"learning_rate": 0.03, "schedule": "constant", "teacher_steps": 100, "student_steps": 100}
    few = {"data": {"count": 100, "noise": 0.5}, "teacher": {"hidden": 32}, "student": {"hidden": 32}}
    for first in range(1, 5):
        seen: list[events.RunEvent] = []
        config = moons(training=training, seeds={"first": first}, **few)
        record = nfkd.run(config, tmp_path_factory.mktemp("runs") / "run", on_event=seen.append)
        if all(summary.best_step < summary.steps for summary in record.summary):
            return record, seen
    pytest.fail("no run of four ended worse than its best step")


def grid(extent: np.ndarray, size: int) -> torch.Tensor:
    x0, x1, y0, y1 = extent
    x, y = np.meshgrid(np.linspace(x0, x1, size), np.linspace(y0, y1, size))
    return torch.tensor(np.stack([x.ravel(), y.ravel()], axis=1), dtype=torch.float32)


def test_the_final_pictures_are_of_the_saved_weights(worse_at_the_end) -> None:
    record, _ = worse_at_the_end
    loaded = {"teacher": record.load_teacher(), "student": record.load_student(), "baseline": record.load_baseline()}
    best = {summary.stage: summary.best_step for summary in record.summary}
    with opened(record.path / "run.h5") as file:
        for stage, flow in loaded.items():
            final, series = file[f"{stage}/final/density"], file[f"{stage}/density"]
            assert final["step"][...].tolist() == [best[stage]]
            assert (np.diff(series["step"][...]) > 0).all()
            with torch.no_grad():
                expected = flow.log_prob(grid(final["extent"][...], 96)).reshape(96, 96).numpy()
            np.testing.assert_allclose(final["log_prob"][0], expected, atol=1e-3)
            assert np.abs(series["log_prob"][-1] - expected).max() > 0.1
            for name in ("samples", "interpolation"):
                assert file[f"{stage}/final/{name}/step"][...].tolist() == [best[stage]]
                assert np.abs(file[f"{stage}/final/{name}/images"][0] - file[f"{stage}/{name}/images"][-1]).max() > 1e-3


def test_record_and_events_end_with_the_final_pictures(worse_at_the_end) -> None:
    record, seen = worse_at_the_end
    view = RunView(record.row, record.config.to_toml())
    for event in seen:
        view.apply(event)
    best = {summary.stage: summary.best_step for summary in record.summary}
    [seed] = record.seeds
    for stage in ROLES:
        recorded, live = record.seeds[seed].stages[stage], view.stages[seed, stage]
        for name, values in (("samples", "samples"), ("interpolation", "images"), ("density", "log_prob")):
            picture, shown = getattr(recorded, name), getattr(live, name)
            assert (picture.step, picture.final) == (shown.step, shown.final) == (best[stage], True)
            np.testing.assert_array_equal(getattr(picture, values), getattr(shown, values))
            assert events.picture_label(picture) == f"final weights (step {best[stage]})"


def test_a_resumed_stage_drops_its_final_pictures(worse_at_the_end) -> None:
    record, _ = worse_at_the_end
    view = RunView.from_snapshot(record.snapshot())
    [seed] = record.seeds
    view.apply(events.StageStarted(run=str(record.path), seed=seed, stage="student", step=20))
    assert view.stages[seed, "student"].samples is None
    assert view.stages[seed, "teacher"].samples is not None


def test_a_given_teacher_has_final_pictures(worse_at_the_end, tmp_path: Path) -> None:
    before = worse_at_the_end[0]
    given = before.config.replace(training={"teacher_weights": str(before.path), "student_steps": 5})
    record = nfkd.run(given, tmp_path / "run")
    [seed] = record.seeds
    samples = record.seeds[seed].stages["teacher"].samples
    assert samples is not None
    assert samples.final
    np.testing.assert_array_equal(samples.samples, before.samples["teacher"])
