"""What dropping a file into the window does."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from nfkd.config.datasets import IMAGE_ENDINGS, resolve_data_table
from nfkd.files import is_folder, is_regular, is_taken, open_regular
from nfkd.text import plain

DropKind = Literal["experiment", "run", "data", "array", "weights", "nothing"]
USABLE = (
    "An experiment (.toml), the folder of a run, a table (.csv, .tsv, .txt, .xlsx, .parquet, .npy, .h5 …), an array of "
    "images (.npy, .npz, .h5), a folder of images, or a teacher's weights (.safetensors) can be dropped."
)
_ONE = "One file or folder at a time can be dropped"
_ARRAYS = {".h5", ".hdf5", ".npz"}
_OTHERS = {
    ".xls": "is an old Excel file: save it as .xlsx",
    ".ods": "is an OpenDocument file: save it as .xlsx or .csv",
    ".json": "is JSON: save it as .csv or .parquet",
    ".mat": "is a MATLAB file: save it as .csv or .h5",
    ".sav": "is an SPSS file: save it as .csv",
    ".dta": "is a Stata file: save it as .csv",
    ".rds": "is an R file: save it as .csv or .parquet",
    ".pt": "was saved by PyTorch: save the weights with NFKD, or arrays as .npy",
    **dict.fromkeys((".pkl", ".pickle"), "is a pickle, which can run code and is never opened: save it as .parquet"),
}
"""Why other files cannot be used, and what to do."""
_RUN_STATE, _RUN_FILE = "state.json", "run.h5"
_LEVELS, _MOST_FOLDERS, _MOST_NAMES = 3, 8, 200
"""Levels that are searched for an image, folders of each, and names in each; the window waits for the search."""
_HEADER = 1 << 20  # bytes
_LONGEST = 60  # characters of a file name


@dataclass(frozen=True)
class Drop:
    """What a drop does.

    Attributes
    ----------
    kind
        ``array`` is an .h5 or .npz file, whose content decides between a table and images; ``nothing`` cannot be used.
    text
        What will happen, or why nothing will, in a few words.
    path
        The file or folder; of a run, its folder.
    table
        For a data set: its ``[data]`` table. For weights: the flow that they belong to.
    help
        What can be done instead, where nothing will happen.
    """

    kind: DropKind
    text: str
    path: str = ""
    table: dict[str, Any] = field(default_factory=dict)
    help: str = USABLE


def drop_of(paths: Sequence[str]) -> Drop:
    """Return what dropping these files does; an empty path stands for something that is no file of this machine."""
    if len(paths) != 1:
        return Drop("nothing", _ONE)
    [text] = paths
    path = Path(text)
    if not text or not is_taken(path):
        return Drop("nothing", "Only files and folders of this machine can be dropped")
    name = plain(path.name, _LONGEST)
    if run := _run_of(path):
        return Drop("run", f"Open the run {plain(run.name, _LONGEST)}", str(run))
    suffix = path.suffix.lower()
    if is_regular(path) and suffix == ".toml":
        return Drop("experiment", f"Open the experiment {name}", text)
    if is_regular(path) and suffix == ".safetensors":
        return _weights(path, name)
    return _data(path, name)


def away_from(drop: Drop, machine: str, how: str) -> Drop:
    """Return what a drop does while the engine, which reads all but experiments, is on another machine.

    `how` says how its files get there.
    """
    if drop.kind in {"experiment", "nothing"}:
        return drop
    return Drop("nothing", f"{plain(machine, _LONGEST)} cannot see files of this machine", drop.path, help=how)


def _run_of(path: Path) -> Path | None:
    """Return the folder of the run that a folder or its file is."""
    folder = path.parent if path.name == _RUN_FILE else path
    return folder if is_taken(folder / _RUN_STATE) else None


def _data(path: Path, name: str) -> Drop:
    use = f"Use {name} as the data set"
    if is_folder(path):
        if not _holds_images(path):
            return Drop("nothing", f"{name} is neither a run nor a folder of images", str(path))
        return Drop("data", use, str(path), {"kind": "image_folder", "path": str(path)})
    if is_regular(path) and path.suffix.lower() in _ARRAYS:
        return Drop("array", use, str(path), {"kind": "table", "path": str(path)})
    try:
        table = resolve_data_table(str(path), path.parent) if is_regular(path) else {}
    except ValueError:
        table = {}
    if not table:
        why = _OTHERS.get(path.suffix.lower(), "cannot be used here")
        return Drop("nothing", f"{name} {why}", str(path))
    if not path.stat().st_size:
        return Drop("nothing", f"{name} is empty", str(path))
    return Drop("data", use, str(path), table)


def _holds_images(root: Path) -> bool:
    """Return whether an image is among the first names of a folder or of the first folders in it."""
    level = [str(root)]
    for _ in range(_LEVELS):
        found = [_first_names(folder) for folder in level[:_MOST_FOLDERS]]
        if any(images for images, _ in found):
            return True
        level = [folder for _, folders in found for folder in folders]
    return False


def _first_names(folder: str) -> tuple[bool, list[str]]:
    """Return whether there is an image among the first names of a folder, and the folders among them."""
    try:
        with os.scandir(folder) as entries:
            first = [entry for entry in islice(entries, _MOST_NAMES) if not entry.name.startswith(".")]
            folders = [entry.path for entry in first if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return False, []
    return any(entry.name.lower().endswith(IMAGE_ENDINGS) for entry in first), folders


def _weights(path: Path, name: str) -> Drop:
    flow = _flow_of(path)
    if not flow:
        return Drop("nothing", f"{name} has no weights of a flow of NFKD", str(path))
    return Drop("weights", f"Use {name} as the teacher", str(path), flow)


def _flow_of(path: Path) -> dict[str, Any]:
    """Return the flow that a weights file describes in its header; empty if it describes none."""
    try:
        with open_regular(path) as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, _HEADER)))
            flow = json.loads(header["__metadata__"]["flow"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return flow if isinstance(flow, dict) else {}
