"""An experiment that is adapted to another data set has no problems: checked by the engine's own description."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nfkd.config import ExperimentConfig, preset_names, preset_path
from nfkd.config.adapting import DataFacts, adapt
from nfkd.config.datasets import DATA_KINDS
from nfkd.config.toml import read_toml
from nfkd.data import DataError, load_dataset
from nfkd.planning.describe import describe

PLANE = "two_moons"
KINDS = [kind for kind in DATA_KINDS if kind not in {"table", "image_folder", "image_stack"}]


@cache
def facts_of(config: Any) -> DataFacts:
    try:
        dataset = load_dataset(config)
    except DataError as error:  # the files are not on this machine
        return DataFacts(error.event_shape or ())
    return DataFacts(dataset.event_shape, dataset.context_features, len(dataset.train))


def document_of(preset: str) -> dict[str, Any]:
    return read_toml(preset_path(preset))


def adapted(document: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment with other data, adapted to it."""
    before = ExperimentConfig.from_dict(document)
    changed = document | {"data": data}
    new = facts_of(ExperimentConfig.from_dict(changed).data)
    return adapt(changed, document["data"], facts_of(before.data), new).document


def shallow(document: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment with a quarter of each flow's steps, each with one transformer layer at most.

    What an adaptation changes does not depend on them.
    """
    found = copy.deepcopy(document)
    for flow in (found["teacher"], found["student"], *found.get("assistants", [])):
        if "steps" in flow:
            flow["steps"] = -(-flow["steps"] // 4)
        if "depth" in flow:
            flow["depth"] = 1
    return found


_found: dict[Any, list[str]] = {}


def problems(document: dict[str, Any]) -> list[str]:
    """Return what the engine says against an experiment, except that files are missing; it is asked only once."""
    config = ExperimentConfig.from_dict(shallow(document))
    training = config.training.model_copy(update={"teacher_steps": 1, "student_steps": 1, "assistant_steps": 1})
    config = config.replace(name="x", description="", training=training.model_dump())
    key = config.model_copy(update={"monitor": None})
    if key not in _found:
        found = describe(config).problems
        _found[key] = [
            f"{each.path}: {each.message}" for each in found if each.path not in {"data.kind", "data.folder"}
        ]
    return _found[key]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Data of the user's: tables of one, two and many columns, and images of many sizes."""
    root: Path = tmp_path_factory.mktemp("own")
    rows = np.random.default_rng(1).normal(size=(90, 6)).astype(np.float32)
    found: dict[str, dict[str, Any]] = {}
    for columns in (1, 2, 6):
        path = root / f"table {columns}.npy"
        np.save(path, rows[:, :columns])
        found[f"table of {columns}"] = {"kind": "table", "path": str(path)}
    csv = root / "context.csv"
    csv.write_text("a,b,c\n" + "\n".join(",".join(map(str, row[:3])) for row in rows.tolist()))
    found["table with context"] = {"kind": "table", "path": str(csv), "context": ["c"]}
    for sides in ((4, 4), (6, 6), (12, 20), (28, 28), (64, 32)):
        path = root / f"stack {sides}.npy"
        np.save(path, np.random.default_rng(2).integers(0, 256, (60, *sides), dtype=np.uint8))
        found[f"images of {sides}"] = {"kind": "image_stack", "path": str(path)}
    folder = root / "pictures"
    folder.mkdir()
    for number in range(60):
        Image.new("RGB", (16, 16), (number, 2 * number, 0)).save(folder / f"{number}.png")
    found["folder"] = {"kind": "image_folder", "path": str(folder), "size": 16}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_fits_every_data_set_after_the_change(preset: str) -> None:
    assert_fits(preset, {kind: {"kind": kind} for kind in KINDS})


@pytest.mark.parametrize("preset", ["digits", "iaf_moons", "natural_patches_maf", "tarflow_cifar10", "tarflow_digits"])
def test_presets_fit_data_of_the_user(preset: str, own: dict[str, dict[str, Any]]) -> None:
    assert_fits(preset, own)


def assert_fits(preset: str, tables: dict[str, dict[str, Any]]) -> None:
    document, seen = document_of(preset), set[DataFacts]()
    for name, data in tables.items():
        changed = adapted(document, data)
        facts = facts_of(ExperimentConfig.from_dict(changed).data)
        alike = DataFacts(facts.event_shape, facts.context_features)
        if alike not in seen:  # data of equal shapes differs in nothing that is adapted
            seen.add(alike)
            assert problems(changed) == [], name


def test_a_second_adaptation_changes_nothing() -> None:
    for preset in ("digits", "two_moons", "natural_patches"):
        for kind in ("digits", "two_moons", "natural_patches", "natural_crops"):
            once = adapted(document_of(preset), {"kind": kind})
            facts = facts_of(ExperimentConfig.from_dict(once).data)
            assert adapt(once, once["data"], None, facts).changes == []


def test_digits_to_a_table_needs_no_repair_by_hand(own: dict[str, dict[str, Any]]) -> None:
    changed = adapted(document_of("digits"), own["table of 6"])
    config = ExperimentConfig.from_dict(changed)
    assert (config.teacher.kind, config.student.kind) == ("glow1d", "glow1d")
    assert config.monitor.temperature == 1.0
    assert (config.name, config.description) == ("table 6", "Glow-1D on table 6.")


def test_what_fits_stays() -> None:
    document = document_of("nsf_moons")
    changed = adapted(document, {"kind": "pinwheel"})
    for section in ("teacher", "student", "training", "monitor"):
        assert changed[section] == document[section]
    assert changed["name"] == "pinwheel"


def test_a_name_and_a_description_of_the_user_stay() -> None:
    document = document_of("digits") | {"name": "mine", "description": "My notes."}
    changed = adapted(document, {"kind": "two_moons"})
    assert (changed["name"], changed["description"]) == ("mine", "My notes.")
    again = adapted(adapted(document_of("digits"), {"kind": "two_moons"}), {"kind": "mnist"})
    assert (again["name"], again["description"]) == ("MNIST", "Glow on MNIST.")


@pytest.mark.parametrize(
    ("shape", "levels", "batch"),
    [((1, 8, 8), 2, 256), ((3, 16, 16), 2, 128), ((3, 32, 32), 3, 32), ((1, 28, 28), 2, 64), ((3, 64, 64), 4, 16)],
)
def test_levels_and_batches_follow_the_size_of_images(shape: tuple[int, ...], levels: int, batch: int) -> None:
    document = document_of("two_moons")
    found = adapt(document, document["data"], DataFacts((2,)), DataFacts(shape))
    assert [flow["levels"] for flow in (found.document["teacher"], found.document["student"])] == [levels, levels]
    assert found.document["training"]["batch_size"] == batch


def test_what_refers_to_the_former_flows_or_data_is_removed() -> None:
    document = document_of("digits")
    document["distillation"]["matching"] = {"pairs": [{"student": "level2.step2", "teacher": "level2.step8"}]}
    document["distillation"]["skd"] |= {"distance": "perceptual"}
    document["training"] |= {"teacher_weights": "/old/run", "student_examples": 500}
    before = copy.deepcopy(document)
    found = adapt(document, document["data"], DataFacts((1, 8, 8)), DataFacts((5,), examples=100))
    config = ExperimentConfig.from_dict(found.document | {"data": {"kind": "two_moons"}})
    assert (config.distillation.matching.pairs, config.distillation.matching.strategy) == ((), "auto")
    assert config.distillation.skd.distance == "l1"
    assert (config.training.teacher_weights, config.training.student_examples) == ("", 0)
    assert {"the teacher is trained anew", "layers matched automatically"} <= set(found.changes)
    assert document == before


def test_assistants_are_between_teacher_and_student() -> None:
    config = ExperimentConfig.from_dict(adapted(document_of("digits_assistant"), {"kind": "two_moons"}))
    [assistant] = config.assistants
    assert config.teacher.steps > assistant.steps > config.student.steps
    assert config.teacher.hidden > assistant.hidden > config.student.hidden


@pytest.mark.parametrize("document", [{}, {"teacher": 3, "student": "x", "training": []}])
def test_a_document_that_is_not_valid_is_adapted_as_far_as_possible(document: dict[str, Any]) -> None:
    found = adapt(document | {"data": {"kind": "digits"}}, {}, DataFacts((2,)), DataFacts((1, 8, 8)))
    assert ExperimentConfig.from_dict(found.document).name == "digits"
