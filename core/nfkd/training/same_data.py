"""Refuses to resume a run on other data than it was made with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nfkd.config import DataConfig, ExperimentConfig
from nfkd.data import DataError, Dataset, load_dataset
from nfkd.data.fingerprint import decode_fingerprint, differences
from nfkd.runs.errors import RunError
from nfkd.runs.layout import RUN_FILE, seed_directory
from nfkd.runs.opening import open_file, reading
from nfkd.runs.schema import read_data
from nfkd.training.checkpoint import kept_fingerprint

_UNKNOWN = (
    "The run keeps no fingerprint of its data that this version can read: NFKD cannot check that the data is unchanged."
)


def fingerprint_text(dataset: Dataset) -> str:
    """Return the fingerprint of a data set as a run keeps it.

    Raises
    ------
    DataError
        When files cannot be read any more.
    """
    return "" if dataset.fingerprint is None else dataset.fingerprint().encode()


def require_same_data(config: ExperimentConfig, run: Path) -> str:
    """Refuse to resume a run on other data than it was made with; nothing of the run is changed.

    Data that cannot be loaded is not refused here: `check` does it, with every problem.

    Returns
    -------
    str
        A warning where the data could not be compared; empty otherwise.

    Raises
    ------
    RunError
        Naming the file or folder, and everything that differs.
    """
    directories = [seed_directory(run, config, seed) for seed in config.seeds.values()]
    texts = [text for directory in directories for text in (_of_file(directory), kept_fingerprint(directory))]
    if all(text is None for text in texts):
        return ""  # no seed has begun
    made = next((found for text in texts if text and (found := decode_fingerprint(text))), None)
    if made is None:
        return _UNKNOWN
    try:
        dataset = load_dataset(config.data)
        found = [] if dataset.fingerprint is None else differences(made, dataset.fingerprint())
    except DataError:
        return ""
    if found:
        cause = f"{_name(config.data)} is not the data that the run was made with: {'; '.join(found)}."
        title, action = "The run cannot be resumed", "Put the first data back, or begin another run with the new data."
        raise RunError(title, cause, action)
    return ""


def _of_file(directory: Path) -> str | None:
    """Return the fingerprint in a seed's file: empty where it has none, None where there is no file to be read."""
    path = directory / RUN_FILE
    if path.exists():
        with suppress(RunError), open_file(path) as file, reading(path):
            return read_data(file)
    return None


def _name(config: DataConfig) -> str:
    """Return what the user knows the data by: its file or folder, or its kind."""
    return getattr(config, "path", "") or getattr(config, "folder", "") or config.kind.replace("_", " ")
