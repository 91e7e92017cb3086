"""The shipped experiments: each may run where its data is, and says in words what is missing where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfkd.config import ExperimentConfig, preset_names
from nfkd.data import NotFetchedError, load_dataset
from nfkd.flows.architectures import ARCHITECTURES, build_flow, flow_problems
from nfkd.planning.describe import describe


def missing(config: ExperimentConfig) -> NotFetchedError | None:
    try:
        load_dataset(config.data)
    except NotFetchedError as error:
        return error
    return None


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_may_run_or_says_what_is_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path))
    config = ExperimentConfig.load(name)
    told = [(problem.path, problem.message) for problem in describe(config).problems]
    lacking = missing(config)
    if lacking is None:
        assert told == []
        return
    [(path, message)] = told
    assert path == "data.kind"
    assert f"nfkd data fetch {config.data.kind}" in message
    assert str(tmp_path) in lacking.by_hand
    assert all(Path(file.url).name in lacking.by_hand for file in lacking.files)
    assert not any(tmp_path.iterdir())
    megabytes = round(sum(file.size for file in lacking.files) / 1e6)
    assert f"Downloads {megabytes} MB" in config.description


@pytest.mark.parametrize("name", preset_names())
def test_a_presets_student_is_smaller_than_its_teacher_and_has_its_latents(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path))
    config, context = ExperimentConfig.load(name), 0
    lacking = missing(config)
    if lacking is None:
        dataset = load_dataset(config.data)
        shape, context = dataset.event_shape, dataset.context_features
    else:
        assert lacking.event_shape
        shape = lacking.event_shape
    assert flow_problems(config.teacher, shape) + flow_problems(config.student, shape) == []
    teacher, student = (
        build_flow(flow, shape, context_features=context, device="meta") for flow in (config.teacher, config.student)
    )
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in teacher.parameters())
    assert student.latent_shapes == teacher.latent_shapes


def test_every_architecture_has_a_preset() -> None:
    configs = [ExperimentConfig.load(name) for name in preset_names()]
    assert {flow.kind for config in configs for flow in (config.teacher, config.student)} == set(ARCHITECTURES)
