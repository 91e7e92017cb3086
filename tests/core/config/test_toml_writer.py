"""TOML that NFKD writes is what tomllib reads, and the text of tomlkit."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from nfkd.config import ExperimentConfig
from nfkd.config.presets import preset_names
from nfkd.config.toml_writer import dump_toml

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
VALUES = st.recursive(
    TEXTS | st.booleans() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_table_is_read_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(dump_toml(table)) == table


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_the_text_of_tomlkit(name: str) -> None:
    text = ExperimentConfig.load(name).to_toml()
    assert text == tomlkit.dumps(tomllib.loads(text))


def test_values_without_a_meaning_in_toml() -> None:
    assert tomllib.loads(dump_toml({"a": None, "b": [{"c": None}], "d": {"e": None}})) == {"b": [{}], "d": {}}
    with pytest.raises(TypeError, match="set"):
        dump_toml({"a": set()})
