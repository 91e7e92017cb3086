"""The presets: each can run, or says which data is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfkd.config import ExperimentConfig, preset_names
from nfkd.data import DataError, NotFetchedError, load_dataset
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.architectures import ARCHITECTURES, build_flow, flow_problems
from nfkd.planning.costs import pass_cost
from nfkd.planning.describe import describe


def assert_names_missing_data(
    config: ExperimentConfig, problems: list[tuple[str, str]], missing: NotFetchedError, folder: Path
) -> None:
    [(path, message)] = problems
    assert path == "data.kind"
    assert f"nfkd data fetch {config.data.kind}" in message
    assert str(folder) in missing.by_hand
    assert all(Path(file.url).name in missing.by_hand for file in missing.files)
    assert not any(folder.iterdir())
    megabytes = round(sum(file.size for file in missing.files) / 1e6)
    assert f"Downloads {megabytes} MB" in config.description


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_run_or_names_its_missing_data_and_has_a_smaller_or_faster_student(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NFKD_DATA", str(tmp_path))
    config, context = ExperimentConfig.load(name), 0
    problems = [(problem.path, problem.message) for problem in describe(config).problems]
    try:
        dataset = load_dataset(config.data)
    except NotFetchedError as error:
        shape = error.event_shape
        assert_names_missing_data(config, problems, error, tmp_path)
    except DataError as error:
        shape = error.event_shape
        assert [path for path, _ in problems] == ["data.path"]
        assert "the folder of the training images" in config.description
    else:
        shape, context = dataset.event_shape, dataset.context_features
        assert problems == []
    assert shape
    assert flow_problems(config.teacher, shape) + flow_problems(config.student, shape) == []
    teacher, student = (
        build_flow(flow, shape, context_features=context, device="meta") for flow in (config.teacher, config.student)
    )
    smaller = sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in teacher.parameters())
    assert smaller or pass_cost(student).sequential < pass_cost(teacher).sequential
    alike = any(OBJECTIVES[term].same_latents for term in config.distillation.active_terms())
    assert student.latent_shapes == teacher.latent_shapes or not alike


def test_every_architecture_has_a_preset() -> None:
    configs = [ExperimentConfig.load(name) for name in preset_names()]
    assert {flow.kind for config in configs for flow in (config.teacher, config.student)} == set(ARCHITECTURES)
