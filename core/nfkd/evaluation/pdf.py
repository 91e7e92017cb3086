"""A page of HTML as a PDF file, made by an installed browser (Chromium, Chrome or Edge) or by WeasyPrint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module, util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from nfkd.files import replacing
from nfkd.runs.errors import RunError, describe_error
from nfkd.runs.export import writing_into

LIMIT = 120.0
"""Seconds that a browser may take."""
_NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge",
    "microsoft-edge-stable",
)  # fmt: skip
_MAC = ("Google Chrome", "Chromium", "Microsoft Edge")
_WINDOWS = ("Google/Chrome/Application/chrome.exe", "Microsoft/Edge/Application/msedge.exe")
_OPTIONS = (
    "--headless", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pdf-header-footer",
    "--password-store=basic", "--use-mock-keychain", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
UNWRITABLE = "The report cannot be written"
"""Title of the error for a file that cannot be written."""
_ACTION = "Install Chromium, Chrome or Edge, or the Python package WeasyPrint; or write the report as .html."


def find_browser() -> Path | None:
    """Return the program of an installed Chromium, Chrome or Edge; None without one."""
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    if sys.platform == "darwin":
        places = [Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in _MAC]
    elif sys.platform == "win32":
        roots = [os.environ.get(name, "") for name in ("ProgramFiles", "ProgramFiles(x86)", "LocalAppData")]
        places = [Path(root, name) for root in roots if root for name in _WINDOWS]
    else:
        places = []
    return next((place for place in places if place.is_file()), None)


def write_pdf(html: str, path: Path, *, limit: float = LIMIT) -> Path:
    """Print a page to a PDF file, and return its path.

    The browser has a profile of its own, which is removed, and needs no network.

    Parameters
    ----------
    html
        The page; it refers to no other file.
    path
        Replaced once the new file is complete.
    limit
        Seconds that a browser may take; after that, its processes are ended.

    Raises
    ------
    RunError
        When neither a browser nor WeasyPrint can make the file, or it cannot be written.
    """
    browser, library = find_browser(), util.find_spec("weasyprint") is not None
    if browser is None and not library:
        title = "A PDF cannot be made here"
        raise RunError(title, "Neither Chromium, Chrome nor Edge was found, nor WeasyPrint.", _ACTION)
    # Beside the file, because a browser in a sandbox of its own may not see the system's temporary folder.
    with writing_into(path.parent, UNWRITABLE), _temporary_folder(path.parent) as folder:
        made = Path(folder, "report.pdf")
        problem = "" if browser is None else _print_with_browser(browser, html, made, limit)
        if library and not made.is_file():
            problem = _print_with_weasyprint(html, made)
        if made.is_file():
            with replacing(path) as temporary:
                shutil.copyfile(made, temporary)
            return path
    title = "The PDF could not be made"
    raise RunError(title, problem, _ACTION)


def _temporary_folder(parent: Path) -> TemporaryDirectory[str]:
    # A helper process of the browser may still hold a file of the profile for a moment.
    return TemporaryDirectory(prefix="nfkd-pdf-", dir=parent, ignore_cleanup_errors=True)


def _print_with_browser(browser: Path, html: str, made: Path, limit: float) -> str:
    """Print a page, and return what went wrong; empty if nothing did."""
    page = made.with_name("report.html")
    page.write_text(html, encoding="utf-8")
    command = [
        str(browser), *_OPTIONS, *_sandbox_options(), f"--user-data-dir={made.parent / 'profile'}",
        f"--print-to-pdf={made}", page.absolute().as_uri(),
    ]  # fmt: skip
    silent = subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent)
    except OSError as error:
        return f"{browser}: {describe_error(error)}."
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        made.unlink(missing_ok=True)
        return f"{browser.name} did not finish within {limit:.0f} s."
    finally:
        _end(process)
    return "" if made.is_file() else f"{browser.name} ended with code {code} and wrote no PDF."


def _sandbox_options() -> list[str]:
    """Return how to start a browser as root, who cannot have its sandbox: in containers, for example."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--no-sandbox"] if is_root else []


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser that is still running, with its helper processes."""
    if process.poll() is not None:
        return
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        family = []
    process.kill()
    process.wait()
    for child in family:
        try:
            child.kill()
        except psutil.Error:  # it has ended meanwhile
            continue
    psutil.wait_procs(family, timeout=5)


def _print_with_weasyprint(html: str, made: Path) -> str:
    try:
        weasyprint: Any = import_module("weasyprint")
        weasyprint.HTML(string=html).write_pdf(str(made))
    except (ImportError, OSError, ValueError) as error:  # its native libraries may be missing
        made.unlink(missing_ok=True)
        return f"WeasyPrint: {describe_error(error)}."
    return ""
