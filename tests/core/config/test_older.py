"""Experiments in an older form still load, and say what was converted."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import nfkd
from nfkd.config import ConfigError, ExperimentConfig
from nfkd.planning.describe import describe
from nfkd.runs.layout import EXPERIMENT, read_config
from nfkd.runs.log import read_log
from tests.core.tiny import moons
from tests.core.training.runs import stop_run

OLDER = "inherit_permutation = true"


def older(value: str = "true") -> str:
    """Return a file as it was written before ``distillation.inherit``."""
    text = moons(training={"teacher_steps": 2, "student_steps": 2}).to_toml()
    lines = [line for line in text.splitlines() if not line.startswith("inherit = ")]
    index = lines.index("[distillation.matching]")
    return "\n".join([*lines[: index + 1], f"inherit_permutation = {value}", *lines[index + 1 :]])


def test_inherit_permutation_becomes_mixing_and_is_not_written_again() -> None:
    config = ExperimentConfig.from_toml(older())
    assert config.distillation.inherit == "mixing"
    assert "inherit_permutation" not in config.to_toml()
    assert config == ExperimentConfig.from_toml(config.to_toml())
    assert hash(config) == hash(ExperimentConfig.from_toml(config.to_toml()))
    [notice] = config.notices
    assert notice.path == "distillation.inherit"
    assert OLDER in notice.message
    assert notice in describe(config).warnings
    assert not ExperimentConfig.from_toml(config.to_toml()).notices


def test_false_becomes_none_without_a_notice() -> None:
    config = ExperimentConfig.from_toml(older("false"))
    assert config.distillation.inherit == "none"
    assert not config.notices


def test_the_new_field_takes_precedence_and_the_notice_says_so() -> None:
    config = ExperimentConfig.from_toml(older(), ["distillation.inherit=none"])
    assert config.distillation.inherit == "none"
    [notice] = config.notices
    assert "has no effect" in notice.message


def test_a_change_in_the_older_form_is_converted() -> None:
    config = moons().replace(distillation={"matching": {"inherit_permutation": True, "strategy": "by_depth"}})
    assert (config.distillation.inherit, config.distillation.matching.strategy) == ("mixing", "by_depth")
    assert len(config.notices) == 1
    assert config.replace(name="other").notices == config.notices
    assert not config.replace(distillation={"inherit": "none"}).notices


@pytest.mark.parametrize("value", ["3", '"yes"'])
def test_an_older_field_of_another_type_is_refused_at_its_path(value: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        ExperimentConfig.from_toml(older(value))
    assert [problem.path for problem in refusal.value.problems] == ["distillation.matching.inherit_permutation"]


def test_a_run_logs_one_warning_and_its_experiment_has_the_new_field(tmp_path: Path) -> None:
    config = ExperimentConfig.from_toml(older())
    record = nfkd.run(config, tmp_path / "run")
    warnings = [line for line in read_log(record.path) if OLDER in line.text]
    assert [line.level for line in warnings] == ["warning"]
    written = tomllib.loads((record.path / EXPERIMENT).read_text("utf-8"))["distillation"]
    assert written["inherit"] == "mixing"
    assert "inherit_permutation" not in written["matching"]


def test_an_older_run_is_read_and_resumed_with_an_older_file(tmp_path: Path) -> None:
    config = ExperimentConfig.from_toml(older())
    run = nfkd.run(config, tmp_path / "run").path
    (run / EXPERIMENT).write_text(older(), "utf-8")
    assert read_config(run) == config
    assert nfkd.run(ExperimentConfig.from_toml(older()), run, resume=True).config.distillation.inherit == "mixing"


def test_an_older_run_that_is_continued_logs_what_was_converted(tmp_path: Path) -> None:
    config = ExperimentConfig.from_toml(older())
    stop_run(tmp_path / "run", config.replace(distillation={"inherit": "mixing"}), "student", 1)
    assert not [line for line in read_log(tmp_path / "run") if OLDER in line.text]
    nfkd.run(config, tmp_path / "run", resume=True)
    assert [line.level for line in read_log(tmp_path / "run") if OLDER in line.text] == ["warning"]
