"""What the reports of one run and of several runs share: templates, figures as SVG, settings, versions and hashes."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

import nfkd
from nfkd.config import ExperimentConfig, resource_path
from nfkd.config.toml import short_toml
from nfkd.data.fingerprint import decode_fingerprint
from nfkd.evaluation.comparison import Mean
from nfkd.files import open_regular
from nfkd.protocol.roles import COLOURS, role_name
from nfkd.runs.curve_figures import GREY, RUN_COLOURS
from nfkd.runs.layout import seed_directory
from nfkd.runs.reader import RunRecord
from nfkd.text import format_number, plain

LONGEST = 2000
VERDICTS = {
    "better": "distillation helped",
    "worse": "distillation did harm",
    "inconclusive": "not decided",
    "": "no verdict",
}
"""What a verdict means."""
_XML_HEAD = re.compile(r"\A.*?(?=<svg)", re.DOTALL)
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')
_FOLDERS = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[\\/](?:[^\s\\/:*?\"<>|]+[\\/])+")
_THEMED = {
    **{colour.lower(): f"var(--{role})" for role, colour in COLOURS.items()},
    **{colour.lower(): f"var(--run-{number})" for number, colour in enumerate(RUN_COLOURS)},
    GREY: "var(--muted)",
    "#000000": "var(--text)",
}
"""Colours of figures that the style sheet of the report changes in a dark theme."""
_DPI = 144
_GIT_SECONDS = 5


class Weights(NamedTuple):
    """A file with weights: its seed, its flow, its name inside the run, and its SHA-256 in hexadecimal digits."""

    seed: int
    flow: str
    name: str
    sha256: str


class Figures:
    """Makes figures of one report into SVG, so that they have no names in common.

    Parameters
    ----------
    for_print
        Whether the page is only printed: colours are then fixed, where a browser may otherwise choose a dark theme.
    """

    def __init__(self, *, for_print: bool) -> None:
        self._for_print = for_print
        self._count = 0

    def svg(self, figure: Figure, title: str) -> Markup:
        """Return a figure as an SVG element; the same figures in the same order give the same text.

        Parameters
        ----------
        figure
            The figure.
        title
            What it shows, for screen readers.
        """
        self._count += 1
        with rc_context({"svg.hashsalt": "nfkd"}):
            buffer = io.StringIO()
            metadata = {"Date": None, "Creator": None}
            figure.savefig(buffer, format="svg", metadata=metadata, transparent=True, dpi=_DPI)
        text = _REFERENCE.sub(rf"\g<1>f{self._count}-", _XML_HEAD.sub("", buffer.getvalue()))
        if not self._for_print:
            for colour, name in _THEMED.items():
                text = text.replace(f": {colour}", f": {name}")
        return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1))  # noqa: S704


def render(name: str, **values: Any) -> str:
    """Return a template of ``resources/report``, filled in; values are escaped."""
    loader = jinja2.FileSystemLoader(resource_path("report"))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name).render(written_by=program_version(), **values)


def mean_text(mean: Mean, form: str) -> str:
    """Return a mean and half the width of its interval, such as ``1.52 ± 0.03``; a dash without values."""
    if not mean.seeds:
        return "–"
    half = f" ± {format_number(mean.half, form)}" if mean.half and math.isfinite(mean.half) else ""
    return f"{format_number(mean.value, form)}{half}".replace("-", "−")


def percent(share: float) -> str:
    """Return a share such as ``62 %``; a dash where it is not defined."""
    return "–" if math.isnan(share) else f"{round(100 * share)} %".replace("-", "−")


def without_folders(text: str, folders: Iterable[Path] = ()) -> str:
    """Return a message with absolute paths shortened to the names of their files; `folders` may contain spaces."""
    for folder in sorted(folders, key=lambda path: len(str(path)), reverse=True):
        text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return plain(_FOLDERS.sub("", text), LONGEST)


def settings_text(config: ExperimentConfig) -> str:
    """Return the experiment as TOML without defaults; paths are shortened to the names of their files."""
    text = short_toml(config, ("data", "teacher", "student"))
    for value in sorted(set(_paths(config.model_dump(mode="json"))), key=len, reverse=True):
        quoted = json.dumps(value, ensure_ascii=False)
        text = text.replace(quoted, json.dumps(file_name(value), ensure_ascii=False))
    return text


def file_name(value: str) -> str:
    """Return the last part of an absolute path of any system; other texts as they are."""
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if _is_absolute(value) else value


def _is_absolute(value: str) -> bool:
    return Path(value).is_absolute() or re.match(r"[A-Za-z]:[\\/]|\\\\", value) is not None


def _paths(table: Any) -> Iterator[str]:
    """Yield the absolute paths among the settings."""
    if isinstance(table, str):
        if _is_absolute(table):
            yield table
    elif isinstance(table, Mapping):
        for value in table.values():
            yield from _paths(value)
    elif isinstance(table, Sequence):
        for value in table:
            yield from _paths(value)


def versions_of(record: RunRecord) -> dict[str, str]:
    """Return the versions of the libraries with which a run was trained; empty before it began."""
    started = next((seed.started for seed in record.seeds.values()), None)
    return started.versions if started is not None else {}


def device_of(record: RunRecord) -> str:
    """Return the device of a run, and how it was started if not plainly on this machine."""
    row = record.row
    return ", ".join(filter(None, (row.device or "–", row.start.describe() if row.start is not None else "")))


def data_hashes(record: RunRecord) -> dict[str, str]:
    """Return the number of examples and the hash of each part of a run's data; empty for runs of earlier versions.

    Data that is split at random is one part without a name.
    """
    text = next((seed.data for seed in record.seeds.values()), "")
    fingerprint = decode_fingerprint(text) if text else None
    parts = {} if fingerprint is None else fingerprint.parts
    names = parts if len(parts) > 1 else [""] * len(parts)
    return {name: f"{part.count:,} examples, {part.values}" for name, part in zip(names, parts.values(), strict=True)}


def weights_hashes(record: RunRecord) -> list[Weights]:
    """Return the weights that a run has saved, with the hash of each file; "not readable" in its place."""
    found = []
    for seed, seed_record in record.seeds.items():
        directory = seed_directory(record.path, record.config, seed)
        for stage in seed_record.stages:
            path = directory / f"{stage}.safetensors"
            if path.is_file():
                found.append(Weights(seed, role_name(stage), path.relative_to(record.path).as_posix(), _hash(path)))
    return found


def _hash(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "not readable"


@cache
def program_version() -> str:
    """Return the version of this program and, for a copy from Git, its commit: such as ``NFKD 0.1.0 (git 1a2b3c4)``."""
    commit = _installed_commit() or _checkout_commit()
    return f"NFKD {nfkd.__version__}" + (f" (git {commit})" if commit else "")


def _installed_commit() -> str:
    """Return the commit from which pip installed the program; empty if it was not from Git."""
    try:
        found = json.loads(metadata.distribution("nfkd").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    return str(found.get("vcs_info", {}).get("commit_id", ""))[:12]


def _checkout_commit() -> str:
    """Return the commit of the checkout that the program runs from; empty without one."""
    root, git = Path(nfkd.__file__).parents[2], shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
