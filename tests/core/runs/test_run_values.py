"""Values of runs by name: the settings of their experiments and the figures of their stages, against json and h5py."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

import nfkd
from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.config.presets import preset_names
from nfkd.runs.labels import change_labels
from nfkd.runs.run_values import FactsCache, read_facts, run_values, settings_of
from nfkd.runs.settings_file import read_settings
from nfkd.runs.state import read_row
from nfkd.runs.summary_file import read_summaries
from tests.core.runs.written import opened
from tests.core.tiny import moons

TRAINING = {"teacher_steps": 6, "student_steps": 6, "batch_size": 16}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "deep" / "run"
    nfkd.run(moons(training=TRAINING, seeds={"count": 2, "first": 4}), path)
    return path


def settings_in(run: Path) -> dict[str, Any]:
    return {name: value for table in read_settings(str(run)) for name, value in table.items()}


@pytest.mark.parametrize("name", preset_names())
def test_settings_are_those_of_the_validated_experiment(name: str, tmp_path: Path) -> None:
    config = ExperimentConfig.load(name)
    (tmp_path / "experiment.toml").write_text(config.to_toml(), encoding="utf-8")
    assert settings_in(tmp_path) == {path: value for path, value in settings_of(config).items() if value is not None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a = 1\n[b]\nc = [\n[1, 2],\n[3],\n]\n', {"a": 1, "b.c.0.0": 1, "b.c.0.1": 2, "b.c.1.0": 3}),
        ('[b]\nc = """\n[d]\ne = 1\n"""\n', {"b.c": "[d]\ne = 1\n"}),
        ("[[s]]\na = 1\n[[s]]\na = 2\n", {"s.0.a": 1, "s.1.a": 2}),
        ("[a.b]\nc = true\n[a.d]\ne = nan\n", {"a.b.c": True, "a.d.e": None}),
        (f"[a]\nb = {list(range(200))}\n", {"a.b": "200 items"}),
        (f"[a]\nb = {10**400}\nc = 2020-01-01\n", {"a.b": None, "a.c": None}),
        ("[a\n", {}),
        ("\0", {}),
        ("a.b." * 1000 + "c = 1", {}),
    ],
)  # fmt: skip
def test_unusual_files_give_the_values_of_toml_or_none(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text(text)
    assert settings_in(tmp_path) == expected


def stored_figures(run: Path) -> list[tuple[str, int, dict[str, float]]]:
    """Return the figures of every stage, read from HDF5."""
    found = []
    for seed in (4, 5):
        with opened(run / f"seed-{seed}" / "run.h5") as file:
            for stage, group in file["summary"].items():
                if stage != "floor" and not math.isnan(float(group["test"][0])):
                    found.append((stage, seed, {name: float(group[name][0]) for name in group}))
    return found


def test_the_file_of_figures_has_those_of_hdf5(trained: Path) -> None:
    content = json.loads((trained / "figures.json").read_text())
    stored = {(stage, seed): figures for stage, seed, figures in stored_figures(trained)}
    assert {(table["stage"], table["seed"]) for table in content} == stored.keys()
    assert len(stored) == 5  # one teacher for both seeds
    for table in content:
        figures = stored[table["stage"], table["seed"]]
        for name in ("test", "test_error", "parameters", "samples_per_second", "fd", "same_noise", "seconds"):
            expected = None if math.isnan(figures[name]) else figures[name]
            assert table[name] == expected, name


def test_figures_are_means_over_seeds_and_seeds_share_the_teacher(trained: Path) -> None:
    values, stored = run_values(read_row(trained), read_facts(str(trained))), stored_figures(trained)
    for name in ("test", "fd", "sw", "samples_per_second", "same_noise"):
        students = [figures[name] for stage, _, figures in stored if stage == "student"]
        assert values[f"student_{name}"] == pytest.approx(statistics.fmean(students))
    seeds = read_facts(str(trained)).seeds
    assert [seed.seed for seed in seeds] == [4, 5]
    (teacher,) = [figures["test"] for stage, _, figures in stored if stage == "teacher"]
    for seed in seeds:
        own = {stage: figures for stage, number, figures in stored if number == seed.seed}
        assert seed.values["student_test"] == own["student"]["test"]
        assert seed.values["teacher_test"] == teacher
        assert seed.values["seconds"] == pytest.approx(sum(figures["seconds"] for figures in own.values()))
        gap = own["baseline"]["test"] - teacher
        if "gap_closed" in seed.values:
            closed = (own["baseline"]["test"] - own["student"]["test"]) / gap
            assert seed.values["gap_closed"] == pytest.approx(closed)
        else:
            assert gap <= max(own["baseline"]["test_error"], 1.0)
    assert values["seconds"] == read_row(trained).seconds


@pytest.mark.parametrize(
    "content", [None, b"[{", b'[{"stage": 3}]', b'[{"seed": 1}]', b"[" * 100_000, b"0" * (5 << 20)]
)
def test_without_a_usable_file_figures_come_from_hdf5(content: bytes | None, trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    expected, summaries = read_facts(str(run)), read_summaries(run)
    (run / "figures.json").unlink()
    if content is not None:
        (run / "figures.json").write_bytes(content)
    found = read_facts(str(run))
    assert found.means == pytest.approx(expected.means)
    assert [seed.values for seed in found.seeds] == [pytest.approx(seed.values) for seed in expected.seeds]
    assert [(each.stage, each.seed, each.test) for each in read_summaries(run)] == [
        (each.stage, each.seed, each.test) for each in summaries
    ]
    for seed in (4, 5):
        (run / f"seed-{seed}" / "run.h5").write_bytes(b"no HDF5")
    assert read_facts(str(run)).means == {}


def test_facts_are_read_again_after_a_change(trained: Path, tmp_path: Path) -> None:
    run, cache = Path(shutil.copytree(trained, tmp_path / "run")), FactsCache()
    first = cache.read(str(run))
    assert cache.read(str(run)) is first
    figures = json.loads((run / "figures.json").read_text())
    figures[0]["test"] = 123.0
    (run / "figures.json").write_text(json.dumps(figures))
    second = cache.read(str(run))
    assert second.means["teacher_test"] == 123.0
    (run / "experiment.toml").write_text("[student]\nhidden = 77\n")
    assert run_values(read_row(run), cache.read(str(run)))["student.hidden"] == 77


def test_figures_folders_and_labels_can_be_listed_and_filtered(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained.parents[1]
    change_labels(trained, ["paper", "good"], [], "of March")
    value = read_facts(str(trained)).means["student_fd"]

    def listed(condition: str) -> list[Any]:
        columns = "name,folder,tags,note,student_fd"
        assert main(["list", str(folder), "--where", condition, "--columns", columns, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    expected = {"name": "run", "folder": "deep", "tags": "paper, good", "note": "of March", "student_fd": value}
    assert listed('student_fd < 1e9 and tags ~ "PAPER" and folder == "deep"') == [expected]
    assert listed('tags ~ "thesis"') == []
    (trained / "labels.json").unlink()


def test_evaluated_metrics_replace_the_figures_of_the_end_also_of_a_shared_teacher(
    trained: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    before = read_facts(str(run))
    values = {("teacher", 4): 0.5, ("student", 4): 0.25, ("student", 5): 0.75}
    metrics = [
        {"metric": "sw", "stage": stage, "seed": seed, "value": value, "low": 0, "high": 1, "count": 9, "reference": 0}
        for (stage, seed), value in values.items()
    ]
    content = {"evaluations": [{"data": "test", "values": metrics}, {"data": "other", "values": metrics[:1]}]}
    (run / "evaluation.json").write_text(json.dumps(content))
    after = read_facts(str(run))
    assert [seed.values["student_sw"] for seed in after.seeds] == [0.25, 0.75]
    assert [seed.values["teacher_sw"] for seed in after.seeds] == [0.5, 0.5]
    assert (after.means["student_sw"], after.means["teacher_sw"]) == (0.5, 0.5)
    same = set(before.means) - {"student_sw", "teacher_sw"}
    assert {name: after.means[name] for name in same} == {name: before.means[name] for name in same}
