"""The generated tables of README and docs are up to date, and what the registries say of data is true."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nfkd.config import TERMS
from nfkd.config.datasets import DATA_KINDS
from nfkd.data import load_dataset
from nfkd.data.source import Source
from nfkd.data.sources import SOURCES
from nfkd.flows.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LOCAL = [source for source in SOURCES.values() if source.origin in ("scikit-learn", "drawn with a seed")]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("doc_tables", ROOT / "packaging" / "doc_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def test_the_tables_are_up_to_date(tables: ModuleType) -> None:
    for document in tables.TABLES:
        assert tables.update_tables(document, read(document)) == read(document), f"{document} is stale: make tables"


def test_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 200
    assert len(read("ARCHITECTURE.md").splitlines()) <= 250


def test_every_link_to_a_file_leads_to_one() -> None:
    for document in DOCUMENTS:
        text = re.sub(r"`[^`\n]*`|^ {4}.*$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE)  # code
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_every_flow_every_kind_of_data_and_every_term_has_a_row(tables: ModuleType) -> None:
    assert all(f"| `{kind}` |" in tables.flows() for kind in ARCHITECTURES)
    assert all(f"| `{kind}` |" in tables.data() for kind in DATA_KINDS)
    assert set(DATA_KINDS) == set(SOURCES)
    terms = tables.terms()
    assert all(f"| {term.label} | `distillation.{name}` | {term.summary()} |" in terms for name, term in TERMS.items())


def test_every_flow_has_a_preset(tables: ModuleType) -> None:
    rows = [row.strip("| ").split(" | ") for row in tables.flows().splitlines()[2:]]
    assert len(rows) == len(ARCHITECTURES)
    assert all(row[-1].startswith("`") for row in rows)


@pytest.mark.parametrize(
    ("document", "row"),
    [("docs/flows.md", "maf"), ("docs/data.md", "mnist"), ("docs/distillation.md", "distillation.lkd")],
)
def test_a_stale_table_is_replaced_and_the_rest_stays(tables: ModuleType, document: str, row: str) -> None:
    stale = read(document).replace(f"| `{row}` |", "| `gone` |") + "The end."
    assert "| `gone` |" in stale
    assert tables.update_tables(document, stale) == read(document) + "The end."


def test_a_document_without_comments_around_its_table_is_refused(tables: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"README\.md has no comments around the table of data"):
        tables.update_tables("README.md", read("README.md").replace("<!-- end of data -->", ""))


@pytest.mark.parametrize("source", LOCAL, ids=lambda source: source.kind)
def test_local_data_has_the_described_shape_unit_and_size(source: Source[Any]) -> None:
    dataset = load_dataset(source.config())  # type: ignore[arg-type]
    assert source.shape == "×".join(map(str, dataset.event_shape))
    assert source.unit == dataset.unit
    assert not source.downloads
    if source.examples:
        assert source.examples == f"{len(dataset.train) + len(dataset.validation) + len(dataset.test):,}"


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.kind)
def test_sources_with_downloads_say_so(source: Source[Any]) -> None:
    assert (source.origin == "downloaded") == bool(source.downloads)
    assert all(file.size and len(file.checksum[1]) in (32, 64) for file in source.downloads)
