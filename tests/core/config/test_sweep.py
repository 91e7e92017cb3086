"""Files of sweeps: which runs they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfkd.config import ConfigError
from nfkd.config.flows import NSFConfig
from nfkd.config.sweep import SweepConfig
from tests.core.tiny import moons

BASE = moons().to_toml()


def sweep(text: str) -> SweepConfig:
    return SweepConfig.from_toml(f"{BASE}\n{text}")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        sweep(text).combinations()
    return str(caught.value)


def values(text: str, *paths: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for combination in sweep(text).combinations():
        tables = combination.config.model_dump()
        row: list[Any] = []
        for path in paths:
            value: Any = tables
            for key in path.split("."):
                value = value[int(key)] if key.isdecimal() else value[key]
            row.append(value)
        found.append(tuple(row))
    return found


def test_a_grid_has_every_combination() -> None:
    grid = '[sweep.grid]\n"student.hidden" = [8, 16]\n"training.learning_rate" = [1e-3, 3e-3]'
    found = values(grid, "student.hidden", "training.learning_rate")
    assert found == [(8, 1e-3), (8, 3e-3), (16, 1e-3), (16, 3e-3)]


def test_paths_of_a_grid_need_no_quotes() -> None:
    assert values("[sweep.grid]\nstudent.hidden = [8, 16]", "student.hidden") == [(8,), (16,)]


def test_a_list_has_one_run_for_each_table_and_follows_the_grid() -> None:
    text = '[sweep.grid]\n"student.hidden" = [8]\n[[sweep.list]]\n"student.hidden" = 16\n"seeds.first" = 4'
    assert values(text, "student.hidden", "seeds.first") == [(8, 1), (16, 4)]


def test_items_of_lists_and_whole_tables_can_be_values() -> None:
    text = """
[[sweep.list]]
assistants = [{kind = "glow1d", steps = 2, hidden = 6}]
[[sweep.list]]
"assistants.0" = {kind = "nsf", steps = 1}
"""
    assert values(text, "assistants.0.kind") == [("glow1d",), ("nsf",)]


def test_another_kind_starts_with_its_own_defaults() -> None:
    text = '[[sweep.list]]\n"student.bins" = 4\n"student.kind" = "nsf"'
    assert sweep(text).combinations()[0].config.student == NSFConfig(bins=4)


def test_a_sweep_is_the_same_after_saving(tmp_path: Path) -> None:
    first = sweep('[sweep.search]\nruns = 3\n[sweep.search.space]\n"student.hidden" = {low = 4, high = 8}')
    first.save(tmp_path / "sweep.toml")
    assert SweepConfig.open(tmp_path / "sweep.toml") == first


def test_relative_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(f'{BASE}\n[sweep.grid]\n"training.teacher_weights" = ["a.safetensors"]')
    (combination,) = SweepConfig.open(tmp_path / "sweep.toml").combinations()
    assert combination.config.training.teacher_weights == str(tmp_path / "a.safetensors")


@given(st.lists(st.integers(1, 64), min_size=1, max_size=6, unique=True), st.sets(st.integers(0, 99), min_size=1))
def test_the_number_of_runs_is_the_product(widths: list[int], seeds: set[int]) -> None:
    text = f'[sweep.grid]\n"student.hidden" = {widths}\n"seeds.first" = {sorted(seeds)}'
    found = sweep(text)
    assert found.sweep.count == len(found.combinations()) == len(widths) * len(seeds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[sweep.grid]\n"student.hiden" = [8]', "student.hiden: there is no such field; the nearest is student.hidden"),
        ('[sweep.grid]\n"studen.hidden" = [8]', "the nearest is student.hidden"),
        ('[sweep.grid]\n"student.hidden" = [8, "wide"]', "student.hidden: must be a whole number (given: 'wide')"),
        ('[sweep.grid]\n"student.hidden" = [8, 0]', "student.hidden = 0"),
        ('[sweep.grid]\n"student.hidden" = []', "sweep.grid.student.hidden: is an empty list"),
        ('[sweep.grid]\n"student.hidden" = 8', "sweep.grid.student.hidden: must be a list (given: 8)"),
        ('[sweep.grid]\n"student.hidden" = [8, 16, 8]', "runs 1 and 3 are the same: student.hidden = 8"),
        ('[sweep.grid]\n"student.hidden" = [8]\n[[sweep.list]]\n"student.hidden" = 8', "runs 1 and 2 are the same"),
        ("[[sweep.list]]", "sweep.list.0: is an empty table"),
        ("[sweep]", "sweep: names no runs"),
        ('[sweep.grid]\n"name" = ["a", "b"]', "name: cannot be swept"),
        ('[[sweep.list]]\n"student.hidden.x" = 1', "student.hidden.x: hidden is a value, not a section"),
        ('[sweep]\nmetric = "c2st"', "c2st is measured on test data, which must not choose settings"),
        ("[sweep.search]\nruns = 3", "sweep.search.space: is required"),
        ('[sweep.search.space]\n"student.hidden" = {low = 8, high = 4}', "low must be below high (given: 8 and 4)"),
        ('[sweep.search.space]\n"student.hidden" = {low = 8}', "needs low and high, or choices"),
        ('[sweep.search.space]\n"student.hidden" = {choices = [], low = 8}', "needs low and high, or choices"),
        ('[sweep.search.space]\n"student.hidden" = {low = 1, high = 9, step = 0.5}', "a whole number as its step"),
        ('[sweep.search.space]\n"student.hidden" = {low = 1, high = 9.5}', "must be a whole number (given: 9.5)"),
        ('[sweep.search.space]\n"student.hidden" = {low = 1, high = 1e6}', "student.hidden: must be at most"),
        ('[sweep.search.space]\n"student.hiden" = {choices = [8]}', "the nearest is student.hidden"),
        ('[sweep.search.space]\n"data.noise" = {low = 0.1, high = 0.2}', "data.noise changes the data"),
        ('[sweep.grid]\n"student.hidden" = [8]\n[sweep.search.space]\n"student.steps" = {choices = [1]}', "two sweeps"),
    ],
)  # fmt: skip
def test_bad_input_is_named(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_too_many_combinations_are_refused_with_their_number() -> None:
    grid = f'[sweep.grid]\n"student.hidden" = {list(range(1, 101))}\n"seeds.first" = {list(range(100))}'
    assert "10,000 runs, and at most 1,000 are allowed" in refusal(grid)
    assert "sweep.limit = 10000" in refusal(grid)
    few = f'[sweep]\nlimit = 4\n[sweep.grid]\n"student.hidden" = {list(range(1, 6))}'
    assert "5 runs, and at most 4 are allowed" in refusal(few)
    assert len(sweep(few.replace("limit = 4", "limit = 5")).combinations()) == 5


def test_an_experiment_without_a_sweep_is_refused() -> None:
    assert "sweep: is required" in refusal("")
