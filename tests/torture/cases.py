"""The hostile cases: what is built, and the commands that are tried on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import hostile
from tests.hostile import Build, altered, content, nested, tampered_weights, text

Arguments = list[str | Path]
Command = Arguments | Callable[[], int]
"""Arguments of ``nfkd``, or a task; ``engine ACTION PATH`` sends a request to an engine in the process."""
_MANY = 10_000_000
RUN_FILES = (
    "state.json",
    "experiment.toml",
    "verdict.json",
    "log.jsonl",
    "run.h5",
    "checkpoint.safetensors",
    "teacher.safetensors",
    "student.safetensors",
    ".lock",
)
SPECIAL, NESTING, TYPES, WEIGHTS = "special files in a run", "deep nesting", "wrong types and texts", "tampered weights"
DATA, EXPERIMENT, NAME, HALF, EXPORT = "data files", "experiment files", "names", "half-made runs", "links in exports"


@dataclass(frozen=True)
class Scene:
    """What was built for a command.

    Attributes
    ----------
    commands
        By name.
    named
        Texts of which an error message must contain one.
    untouched
        A file outside and its content, which must not change; None if it must not be created.
    refused
        The commands that must fail.
    """

    commands: dict[str, Command]
    named: tuple[str, ...]
    untouched: tuple[Path, bytes | None] | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A hostile case, built again for every command."""

    group: str
    name: str
    build: Callable[[Path], Scene]
    commands: tuple[str, ...]


def all_cases(template: Path, experiment: Path) -> list[Case]:
    """Return every case.

    Parameters
    ----------
    template
        A finished run, which is copied.
    experiment
        The experiment file of that run.
    """
    return [
        *_special(template, experiment),
        *_contents(template, experiment),
        *_weights(template),
        *_data(),
        *_experiments(),
        *_names(template, experiment),
        *_half_made(template, experiment),
        *_exports(template),
    ]


def _about_run(run: Path, experiment: Path, named: Iterable[str]) -> Scene:
    commands: dict[str, Command] = {
        "list": ["list", run.parent],
        "show": ["show", run],
        "inspect": ["inspect", run],
        "recover": ["recover", run],
        "export": ["export", run, "--csv", "--figures"],
        "resume": ["run", experiment, "--out", run, "--resume"],
        "engine list": ["engine", "list", run.parent],
        "engine open": ["engine", "open", run],
        "teacher": ["run", experiment, "--out", run.with_name("new"), "--set", f"training.teacher_weights={run}"],
    }
    return Scene(commands, tuple(named))


_RUN_COMMANDS = ("list", "show", "inspect", "recover", "export", "resume", "engine open")
_MORE_COMMANDS = {
    "state.json": ("engine list", "teacher"),
    "experiment.toml": ("teacher",),
    "teacher.safetensors": ("teacher",),
}


def _with_file(
    template: Path, experiment: Path, name: str, build: Build, folder: Path, *, is_valid: bool = False
) -> Scene:
    run = folder / "runs" / "victim"
    shutil.copytree(template, run)
    (run / name).unlink(missing_ok=True)
    build(run / name)
    # If the file is missing, or valid for another run, the message may name the run's directory instead.
    is_bad = os.path.lexists(run / name) and not is_valid
    return _about_run(run, experiment, [name] if is_bad else [name, run.name])


def _special(template: Path, experiment: Path) -> Iterator[Case]:
    for file in RUN_FILES:
        for kind, build in hostile.KINDS.items():
            commands = _RUN_COMMANDS + _MORE_COMMANDS.get(file, ())
            yield Case(SPECIAL, f"{file}: {kind}", partial(_with_file, template, experiment, file, build), commands)


def _contents(template: Path, experiment: Path) -> Iterator[Case]:
    state, verdict = ((template / name).read_bytes() for name in ("state.json", "verdict.json"))
    log, toml = (template / "log.jsonl").read_text(), experiment.read_text()
    builds: list[tuple[str, str, str, Build]] = [
        (NESTING, "state.json", "lists", nested("[", "]")),
        (NESTING, "state.json", "objects", nested('{"row":', "}", before='{"row":', after="}")),
        (NESTING, "verdict.json", "lists", nested("[", "]", before='{"metric":', after="}")),
        (NESTING, "verdict.json", "objects", nested('{"a":', "}", before='{"metric":1,"b":', after="}")),
        (NESTING, "log.jsonl", "a line of lists", nested("[", "]", before=log)),
        (NESTING, "experiment.toml", "lists", nested("[", "]", before=f"{toml}\n[more]\na = ")),
        (NESTING, "experiment.toml", "a dotted key", hostile.long_key),
        (TYPES, "state.json", "a list", text("[]")),
        (TYPES, "state.json", "a row that is a number", altered(state, lambda tree: tree | {"row": 1})),
        (TYPES, "state.json", "a huge process number", altered(state, lambda tree: tree | {"pid": 1 << 62})),
        (TYPES, "state.json", "a negative process number", altered(state, lambda tree: tree | {"pid": -1})),
        (TYPES, "state.json", "an unknown state", altered(state, lambda tree: tree["row"].update(state="dancing"))),
        (TYPES, "state.json", "times beyond all", altered(state, lambda tree: tree["row"].update(created=1e300))),
        (TYPES, "state.json", "markup", altered(state, lambda tree: tree["row"].update(teacher="[/red]", cause="[/]"))),
        (
            TYPES,
            "state.json",
            "escapes",
            altered(state, lambda tree: tree["row"].update(cause="\x1b[31m\nnfkd: ok")),
        ),
        (TYPES, "state.json", "another seed count", altered(state, lambda tree: tree["row"].update(seeds=10**9))),
        (TYPES, "verdict.json", "words for numbers", altered(verdict, lambda tree: tree.update(difference="much"))),
        (TYPES, "verdict.json", "markup", altered(verdict, lambda tree: tree.update(words="[/red] [bold]"))),
        (TYPES, "log.jsonl", "a line of noise", content(log.encode() + b"\xff\xfe\x00\n{}\n1\n")),
        (TYPES, "log.jsonl", "one line of 50 MB", content(b'{"text":"' + b"x" * 50_000_000 + b'"}\n')),
        (TYPES, "experiment.toml", "another experiment", text(toml.replace("batch_size = 32", "batch_size = 31"))),
        (TYPES, "experiment.toml", "a hundred seeds", text(toml.replace("count = 1\n", "count = 100\n"))),
        (TYPES, "experiment.toml", "invalid UTF-8", content(toml.encode() + b'# "\xff"\n')),
        (TYPES, "experiment.toml", "a list of 20 MB", text(f"{toml}\n[more]\na = [{'1,' * _MANY}]\n")),
    ]
    for group, file, name, build in builds:
        scene = partial(_with_file, template, experiment, file, build, is_valid=name == "a hundred seeds")
        yield Case(group, f"{file}: {name}", scene, _RUN_COMMANDS)


def _weights(template: Path) -> Iterator[Case]:
    source = template / "student.safetensors"
    builds: dict[str, Build] = {
        "a header of 4 EiB": hostile.LONG_HEADER,
        "a hidden layer of 2 billion units": tampered_weights(source, hidden=1 << 31),
        "a million steps": tampered_weights(source, steps=10**6),
        "a negative size": tampered_weights(source, event_shape="[-2]"),
        "a huge event": tampered_weights(source, event_shape="[1099511627776]"),
        "a thousand axes": tampered_weights(source, event_shape=str([1] * 1000)),
        "a deep flow": tampered_weights(source, flow="[" * 10_000 + "]" * 10_000),
        "a deep shape": tampered_weights(source, event_shape="[" * 10_000 + "]" * 10_000),
        "a shape of words": tampered_weights(source, event_shape='"two"'),
        "a huge context": tampered_weights(source, context_features="9" * 5000),
        "another kind of flow": tampered_weights(source, kind="maf"),
        "markup": tampered_weights(source, foreign="[/red]\x1b[31m"),
    }

    def scene(build: Build, folder: Path) -> Scene:
        file = folder / "weights.safetensors"
        build(file)
        teacher: Arguments = ["run", "two_moons", "--out", folder / "run", "--set", f"training.teacher_weights={file}"]
        return Scene({"inspect": ["inspect", file], "teacher": teacher}, (file.name,))

    for name, build in (hostile.KINDS | builds).items():
        yield Case(WEIGHTS, name, partial(scene, build), ("inspect", "teacher"))


# --- data and experiments ---------------------------------------------------------------------------------------------

_DATA_COMMANDS = ("show", "add", "engine preview")


def _about_data(name: str, build: Build, folder: Path) -> Scene:
    file = folder / name
    file.parent.mkdir(exist_ok=True)  # a closing markup tag has a slash
    build(file)
    commands: dict[str, Command] = {
        "show": ["data", "show", file],
        "add": ["data", "add", "mine", file],
        "engine preview": ["engine", "preview", file],
    }
    return Scene(commands, (name, "data.columns"))  # a damaged value is reported by column and row


def _data() -> Iterator[Case]:
    for name in ("data.npy", "data.npz", "data.csv", "data.h5", "data.parquet"):
        for kind, build in hostile.KINDS.items():
            yield Case(DATA, f"{name}: {kind}", partial(_about_data, name, build), _DATA_COMMANDS)
    png = hostile.png_claiming
    builds: list[tuple[str, str, Build]] = [
        ("data.npz", "200 MB in a small archive", hostile.whole_npz),
        ("data.npz", "claims 16 TiB", partial(hostile.lying_npz, shape=(1 << 44, 1, 1, 1))),
        ("data.npy", "claims 16 TiB", content(hostile.npy_bytes((1 << 40, 2), dtype="<f8"))),
        ("data.npy", "claims more than a number holds", content(hostile.npy_bytes((1 << 62, 1 << 62), dtype="<f8"))),
        ("data.npy", "claims a negative size", content(hostile.npy_bytes((-5, 2), dtype="<f8"))),
        ("data.npy", "pickled objects", content(hostile.npy_bytes((2, 2), dtype="|O"))),
        ("data.csv", "invalid UTF-8", content(b"a,b\n\xff\xfe,1\n" * 100)),
        ("data.csv", "one line of 50 MB", content(b"1," * 25_000_000)),
        ("data.csv", "100,000 columns", content(b"1,2" + b",3" * 100_000 + b"\n")),
        ("data.csv", "markup and escapes", content(hostile.table().replace(b"a,b", b"[/red],\x1b[31m", 1))),
        ("images", "a picture of 30,000 × 30,000", hostile.image_folder(content(png(30_000, 30_000)))),
        ("images", "a picture of 2 billion pixels a row", hostile.image_folder(content(png((1 << 31) - 1, 1)[:200]))),
        ("images", "a name with escapes", hostile.image_folder(content(b"x"), "\x1b[31m.png")),
        ("images", "a name that is no text", hostile.image_folder(content(b"x"), os.fsdecode(b"\xff.png"))),
        ("images", "a link to its own folder", hostile.image_folder(lambda path: path.symlink_to("."), "again")),
    ]
    kinds = [
        ("images", f"an entry that is: {kind}", hostile.image_folder(build)) for kind, build in hostile.KINDS.items()
    ]
    claims = [(f"data{ending}", label, build) for label, (build, ending) in hostile.ARRAYS.items()]
    for name, label, build in (*builds, *claims, *kinds):
        yield Case(DATA, f"{name}: {label}", partial(_about_data, name, build), _DATA_COMMANDS)


def _experiments() -> Iterator[Case]:
    builds: dict[str, Build] = {
        "nested lists": nested("[", "]", before="a = "),
        "nested tables": nested("{a=", "}", before="a = "),
        "a dotted key": hostile.long_key,
        "invalid UTF-8": content(b"name = '\xff'\n"),
        "null bytes": content(b"\0" * 100_000),
        "20 MB of one list": text(f"a = [{'1,' * _MANY}]\n"),
        "a number of a million digits": text(f"name = {'9' * 1_000_000}\n"),
        "markup and escapes": text('name = "[/red]"\n"\\u001b[31m" = 1\n[data]\nkind = "[/red]"\n'),
    }

    def scene(build: Build, folder: Path) -> Scene:
        file = folder / "experiment.toml"
        build(file)
        run: Arguments = ["run", file, "--out", folder / "run"]
        return Scene({"run": run, "inspect": ["inspect", file]}, (file.name,))

    for name, build in (hostile.KINDS | builds).items():
        yield Case(EXPERIMENT, name, partial(scene, build), ("run", "inspect"))


# --- names, half-made runs, exports -----------------------------------------------------------------------------------


def _names(template: Path, experiment: Path) -> Iterator[Case]:
    def run_scene(name: bytes, folder: Path) -> Scene:
        run = folder / "runs" / os.fsdecode(name)
        shutil.copytree(template, run)
        (run / "verdict.json").write_bytes(b"{")
        (run / "run.h5").write_bytes(b"damaged")
        return _about_run(run, experiment, ["run.h5", ".safetensors"])

    def data_scene(name: bytes, folder: Path) -> Scene:
        scene = _about_data(f"{os.fsdecode(name[:240])}.csv", content(hostile.table()), folder)
        return Scene(scene.commands, (".csv",))

    for label, name in hostile.NAMES.items():
        yield Case(NAME, f"run: {label}", partial(run_scene, name), _RUN_COMMANDS)
        yield Case(NAME, f"data: {label}", partial(data_scene, name), _DATA_COMMANDS)


def _half_made(template: Path, experiment: Path) -> Iterator[Case]:
    def scene(keep: tuple[str, ...], folder: Path) -> Scene:
        run = folder / "runs" / "victim"
        run.mkdir(parents=True)
        for name in keep:
            source = template / name.removesuffix(".tmp")
            (run / name).write_bytes(source.read_bytes()[: 100 if name.endswith(".tmp") else None])
        return _about_run(run, experiment, ["victim"])

    kept: dict[str, tuple[str, ...]] = {
        "nothing yet": (),
        "half an experiment": ("experiment.toml.tmp",),
        "an experiment": ("experiment.toml",),
        "an experiment and half a state": ("experiment.toml", "state.json.tmp"),
        "a state alone": ("state.json",),
        "half a run.h5": ("experiment.toml", "state.json", "run.h5.tmp"),
        "a run.h5 without checkpoint": ("experiment.toml", "state.json", "run.h5"),
        "a checkpoint without run.h5": ("experiment.toml", "state.json", "checkpoint.safetensors"),
    }
    for name, files in kept.items():
        yield Case(HALF, name, partial(scene, files), _RUN_COMMANDS)


def _exports(template: Path) -> Iterator[Case]:
    def scene(option: str, link: str, folder: Path) -> Scene:
        run, elsewhere, target = folder / "runs" / "victim", folder / "elsewhere", folder / "out"
        shutil.copytree(template, run)
        target.mkdir()
        work = b"years of work" if link == "link" else None
        if work is not None:
            elsewhere.write_bytes(work)
        for name in _exported(option):
            (target / name).symlink_to(elsewhere)
        commands: dict[str, Command] = {"export": ["export", run, option, "--out", target]}
        return Scene(commands, (target.name,), (elsewhere, work))

    for option in ("--csv", "--figures"):
        for link in ("link", "dangling link"):
            yield Case(EXPORT, f"{option}: {link}", partial(scene, option, link), ("export",))


def _exported(option: str) -> list[str]:
    """Return names that an export of the template writes."""
    if option == "--figures":
        return [f"{name}.png" for name in ("curves", "samples", "interpolation", "matching", "density")]
    stages = [f"seed-1-{stage}-curves" for stage in ("teacher", "student", "baseline")]
    return [f"{name}.csv" for name in (*stages, "seed-1-matching", "summary", "verdict", "floor")]
