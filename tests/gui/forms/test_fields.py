"""The list of all fields, for the command palette."""

from __future__ import annotations

from nfkd.config import TERMS, ExperimentConfig
from nfkd.config.distillation import DistillationConfig
from nfkd_gui.forms.fields import all_fields
from tests.gui.forms.driver import value_paths


def test_every_value_is_found_by_its_path_and_has_a_title_and_help() -> None:
    found = all_fields()
    paths = {path for path in value_paths(ExperimentConfig) if not path.startswith("assistants.")}
    assert {field.path for field in found} == paths | {"assistants"}
    assert all(field.title and field.help for field in found)
    assert len({(field.path, field.title) for field in found}) == len(found)


def test_titles_name_the_sections_that_a_field_is_in() -> None:
    titles = {field.path: field.title for field in all_fields()}
    assert titles["distillation.lkd.weight"] == "Loss › LKD › Weight"
    assert titles["name"] == "Experiment › Name"
    assert titles["teacher.kind"] == "Teacher › Flow"
    assert titles["assistants"] == "Assistants"


def test_every_term_of_the_loss_says_its_formula_and_its_unit() -> None:
    helps = {name: DistillationConfig.model_fields[name].description or "" for name in TERMS}
    for name, term in TERMS.items():
        assert f"Formula: {term.formula}." in helps[name]
        assert ("Unit: " in helps[name]) == bool(term.unit)
        assert "_S" in term.formula  # the student
    assert len({term.formula for term in TERMS.values()}) == len(TERMS)
