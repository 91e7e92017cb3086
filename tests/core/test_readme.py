"""README's tables are those of the registries, and what the registries say of data is so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nfkd.config.datasets import DATA_KINDS
from nfkd.data import load_dataset
from nfkd.data.source import Source
from nfkd.data.sources import SOURCES
from nfkd.distillation.objectives import OBJECTIVES
from nfkd.flows.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[2]
TERMS = OBJECTIVES.items()
AT_HAND = [source for source in SOURCES.values() if source.origin in ("scikit-learn", "drawn with a seed")]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_tables", ROOT / "packaging" / "readme_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_up_to_date(tables: ModuleType) -> None:
    assert tables.renewed(readme()) == readme(), "README.md is stale: make readme"


def test_every_flow_every_kind_of_data_and_every_term_has_a_row(tables: ModuleType) -> None:
    assert all(f"| `{kind}` |" in tables.flows() for kind in ARCHITECTURES)
    assert all(f"| `{kind}` |" in tables.data() for kind in DATA_KINDS)
    assert set(DATA_KINDS) == set(SOURCES)
    assert all(f"| {term.label} | `distillation.{name}` | {term.summary} |" in tables.terms() for name, term in TERMS)


def test_every_flow_has_a_preset(tables: ModuleType) -> None:
    rows = [row.strip("| ").split(" | ") for row in tables.flows().splitlines()[2:]]
    assert len(rows) == len(ARCHITECTURES)
    assert all(row[-1].startswith("`") for row in rows)


def test_a_stale_table_is_replaced_and_the_rest_stays(tables: ModuleType) -> None:
    stale = re.sub(r"\| `(maf|mnist|distillation.lkd)` \|", "| `gone` |", readme()) + "The end."
    assert "| `gone` |" in stale
    assert tables.renewed(stale) == readme() + "The end."


def test_a_readme_without_places_for_the_tables_is_refused(tables: ModuleType) -> None:
    with pytest.raises(ValueError, match="no place for the table of data"):
        tables.renewed(readme().replace("<!-- end of data -->", ""))


@pytest.mark.parametrize("source", AT_HAND, ids=lambda source: source.kind)
def test_what_is_said_of_data_is_so(source: Source[Any]) -> None:
    dataset = load_dataset(source.config())  # type: ignore[arg-type]
    assert source.shape == "×".join(map(str, dataset.event_shape))
    assert source.unit == dataset.unit
    assert not source.downloads
    if source.examples:
        assert source.examples == f"{len(dataset.train) + len(dataset.validation) + len(dataset.test):,}"


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.kind)
def test_what_is_downloaded_is_said_to_be(source: Source[Any]) -> None:
    assert (source.origin == "downloaded") == bool(source.downloads)
    assert all(file.size and len(file.checksum[1]) in (32, 64) for file in source.downloads)
