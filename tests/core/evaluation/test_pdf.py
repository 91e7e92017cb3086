"""PDF files of pages: with the real browser where there is one, with WeasyPrint, and with neither."""

from __future__ import annotations

import re
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import psutil
import pytest

import nfkd
from nfkd.cli import main
from nfkd.evaluation import pdf
from nfkd.evaluation.pdf import find_browser, write_pdf
from nfkd.runs.errors import RunError
from tests.core.tiny import moons

PAGE = "<!doctype html><title>x</title><style>@page{size:A4}</style><p>one</p><p style='break-before:page'>two</p>"
with_browser = pytest.mark.skipif(find_browser() is None, reason="no Chromium, Chrome or Edge")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for a browser")


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for WeasyPrint, which the tests do not install; the pages that it was given."""
    given: list[str] = []

    class HTML:
        def __init__(self, string: str) -> None:
            given.append(string)

        def write_pdf(self, target: str) -> None:
            Path(target).write_bytes(b"%PDF-1.7 by the library")

    module = types.ModuleType("weasyprint")
    module.__spec__ = ModuleSpec("weasyprint", None)
    module.HTML = HTML  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weasyprint", module)
    return given


@with_browser
def test_a_browser_prints_every_page(tmp_path: Path) -> None:
    path = write_pdf(PAGE, tmp_path / "new folder" / "ü report.pdf")
    assert path.read_bytes().startswith(b"%PDF-")
    assert pages(path) == 2
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@with_browser
def test_the_report_of_a_run_as_pdf(tmp_path: Path) -> None:
    nfkd.run(moons(training={"teacher_steps": 4, "student_steps": 4}), tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "report.pdf")]) == 0
    assert pages(tmp_path / "report.pdf") >= 3


def test_without_browser_and_library_the_message_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_browser", lambda: None)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(RunError) as caught:
        write_pdf(PAGE, tmp_path / "report.pdf")
    for name in ("Chromium", "WeasyPrint", ".html"):
        assert name in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_library_is_used_without_a_browser(
    tmp_path: Path, library: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "find_browser", lambda: None)
    assert write_pdf(PAGE, tmp_path / "a.pdf").read_bytes() == b"%PDF-1.7 by the library"
    assert library == [PAGE]


@on_posix
def test_the_library_is_used_after_a_browser_that_fails(
    tmp_path: Path, library: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = script(tmp_path / "browser", "exit 3")
    monkeypatch.setattr(pdf, "find_browser", lambda: browser)
    assert write_pdf(PAGE, tmp_path / "a.pdf").read_bytes() == b"%PDF-1.7 by the library"


@on_posix
def test_a_browser_that_does_not_end_is_stopped_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = script(tmp_path / "browser", f"sleep 600 & echo $! > '{tmp_path}/child'; wait")
    monkeypatch.setattr(pdf, "find_browser", lambda: browser)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    (tmp_path / "report.pdf").write_text("of an earlier time")
    with pytest.raises(RunError, match="browser did not finish within"):
        write_pdf(PAGE, tmp_path / "report.pdf", limit=0.5)
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert (tmp_path / "report.pdf").read_text() == "of an earlier time"
    assert {each.name for each in tmp_path.iterdir()} == {"browser", "child", "report.pdf"}


@on_posix
def test_a_browser_that_writes_nothing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = script(tmp_path / "browser", "exit 7")
    monkeypatch.setattr(pdf, "find_browser", lambda: browser)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(RunError, match="ended with code 7 and wrote no PDF"):
        write_pdf(PAGE, tmp_path / "report.pdf")
