"""The tables of docs/reliability.md, from measured results."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import h5py

from tests.torture.disks import clean
from tests.torture.files import problems
from tests.torture.laboratory import Laboratory, Result

_PHASES = ("before the directory", "before state.json", "before run.h5", "while resuming", "between stages")
_MOST = 30
_SEED = re.compile(r"^seed-\d+/")
_COUNT = re.compile(r"^\d+ of \d+ ")
_STAGE = re.compile(r"teacher|assistant-\d|student|baseline")


@dataclass(frozen=True)
class Table:
    """Markdown, and the number of its cases with a problem."""

    text: str
    problems: int


def machine() -> str:
    """Return a description of the machine."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "h5py", "numpy"))
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores"
    return f"Measured on {system}: Python {platform.python_version()}, {versions}, HDF5 {h5py.version.hdf5_version}."


def _markdown(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- kills ------------------------------------------------------------------------------------------------------------


def kills(laboratory: Laboratory) -> Table:
    """Return the tables of the killed runs."""
    results = list(laboratory.results("kills").values())
    unequal = {
        name: found["differences"] for name, found in laboratory.results("undisturbed").items() if found["differences"]
    }
    failed = [result for result in results if not result["equal"]]
    parts = [
        machine(),
        _markdown(
            ("experiment", "runs", "SIGKILLs", "resumed to the end", "equal to the undisturbed run"),
            [*_by_experiment(results), _sums("all", results)],
        ),
        _markdown(("killed", "in the first process", "in one that resumed"), _by_phase(results)),
    ]
    if failed:
        parts.append(_markdown(("what differed", "runs"), _by_name(failed)))
    if unequal:
        parts.append(f"Forked and fresh processes gave different runs: {', '.join(unequal)}.")
    return Table("\n\n".join(parts), len(failed) + len(unequal))


def _by_experiment(results: list[Result]) -> Iterable[tuple[object, ...]]:
    for name in dict.fromkeys(result["experiment"] for result in results):
        yield _sums(name, [result for result in results if result["experiment"] == name])


def _sums(name: str, results: list[Result]) -> tuple[object, ...]:
    strikes = sum(len(result["strikes"]) for result in results)
    resumed = sum(not result["error"] for result in results)
    return name, len(results), strikes, resumed, sum(result["equal"] for result in results)


def _by_phase(results: list[Result]) -> Iterable[tuple[object, ...]]:
    struck = Counter((strike["phase"], strike["resumed"]) for result in results for strike in result["strikes"])
    phases = [phase for phase, _ in sorted(struck)]
    for phase in dict.fromkeys((*(phase for phase in _PHASES if phase in phases), *phases)):
        yield phase, struck[phase, False], struck[phase, True]


def _by_name(failed: list[Result]) -> Iterable[tuple[object, ...]]:
    found = Counter[str]()
    for result in failed:
        found.update({f"not resumed: {result['error']}"} if result["error"] else set())
        found.update({f"`{_general(name)}`: {_kind(difference)}" for name, difference in result["differences"].items()})
    yield from found.most_common(_MOST)


def _general(name: str) -> str:
    """Return the name of a dataset without its seed and stage."""
    return _STAGE.sub("STAGE", _SEED.sub("", name))


def _kind(difference: str) -> str:
    """Return the kind of a difference, without its figures."""
    kinds = [
        f"other {part.removeprefix('fill ').split()[0]}" if " instead of " in part else _COUNT.sub("", part)
        for part in difference.split("; ")
    ]
    return ", ".join(dict.fromkeys(kinds))


# --- disks ------------------------------------------------------------------------------------------------------------


def disks(laboratory: Laboratory) -> Table:
    """Return the table of the small disks."""
    results = sorted(laboratory.results("disks").values(), key=lambda result: int(result["key"]))
    enough = next(iter(laboratory.results("disk that is enough").values()), None)
    measured = f"{machine()} The run needs {enough['pages'] * 4:,} KiB." if enough else machine()
    header = ("disk in KiB", "exit code", "one message, that the disk is full", "readable", "after `--resume`")
    text = f"{measured}\n\n{_markdown(header, map(_disk_row, results))}"
    return Table(text, sum(not clean(result) for result in results))


def _disk_row(result: Result) -> tuple[object, ...]:
    exit_code = f"{result['exit']}, traceback" if result["traceback"] else result["exit"]
    told = "yes" if result["told"] else f"no: {result['message'][-100:]}"
    nothing = "nothing was written" if result["shown"] is None else "yes"
    readable = result["read"] or result["show_message"] or nothing
    after = result["error"] or ("equal" if result["equal"] else f"{len(result['differences'])} differences")
    return f"{int(result['key']):,}", exit_code, told, readable, after


# --- files ------------------------------------------------------------------------------------------------------------


def files(laboratory: Laboratory) -> Table:
    """Return the tables of the hostile files."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in laboratory.results("files").values():
        groups[result["group"]].append(result)
    header = ("group", "commands", "without a problem", "took too long", "crashed or traceback", "file not named")
    rows = [_group_row(name, results) for name, results in groups.items()]
    bad = [result for results in groups.values() for result in results if problems(result)]
    parts = [machine(), _markdown((*header, "other", "longest", "peak resident memory"), rows)]
    if bad:
        parts.append(_markdown(("case", "problem"), ((r["key"], ", ".join(problems(r))) for r in bad)))
    return Table("\n\n".join(parts), len(bad))


def _group_row(name: str, results: list[Result]) -> tuple[object, ...]:
    found = Counter(problem.partition(" by signal")[0] for result in results for problem in problems(result))
    crashed = found["ended"] + found["traceback"]
    others = ("control characters on the terminal", "file elsewhere was changed", "was not refused")
    return (
        name,
        len(results),
        sum(not problems(result) for result in results),
        found["took too long"],
        crashed,
        found["message does not name the file"],
        sum(found[problem] for problem in others),
        f"{max(result['seconds'] for result in results):.1f} s",
        f"{max(result['mib'] for result in results):.0f} MiB",
    )


MAKERS: dict[str, Callable[[Laboratory], Table]] = {"kills": kills, "disks": disks, "files": files}


def write(document: Path, texts: dict[str, str]) -> None:
    """Write tables into a document, each between its comments.

    Raises
    ------
    ValueError
        When a comment is missing.
    """
    content = document.read_text(encoding="utf-8")
    for name, text in texts.items():
        start, end = f"<!-- {name}: written by make torture -->", f"<!-- end of {name} -->"
        before, found, rest = content.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            msg = f"{document} has no comments around the table of {name}: {start} … {end}"
            raise ValueError(msg)
        content = f"{before}{start}\n\n{text}\n\n{end}{after}"
    document.write_text(content, encoding="utf-8")
