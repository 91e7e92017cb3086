"""Refuses to resume a run if its data has changed."""

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
from nfkd.training.checkpoint import saved_fingerprint

_UNKNOWN = (
    "The run has no fingerprint of its data that this version can read: NFKD cannot check that the data is unchanged."
)


def fingerprint_text(dataset: Dataset) -> str:
    """Return the fingerprint of a data set as JSON; empty if it has none.

    Raises
    ------
    DataError
        When its files can no longer be read.
    """
    return "" if dataset.fingerprint is None else dataset.fingerprint().encode()


def require_same_data(config: ExperimentConfig, run: Path) -> str:
    """Refuse to resume a run if its data has changed; nothing in the run is changed.

    Data that cannot be loaded is accepted here: `check` reports it with all other problems.

    Returns
    -------
    str
        A warning if the data could not be compared; otherwise empty.

    Raises
    ------
    RunError
        Naming the file or folder and every difference.
    """
    directories = [seed_directory(run, config, seed) for seed in config.seeds.values()]
    texts = [read(directory) for directory in directories for read in (_fingerprint_in_file, saved_fingerprint)]
    if all(text is None for text in texts):
        return ""  # no seed has started
    saved = next((found for text in texts if text and (found := decode_fingerprint(text))), None)
    if saved is None:
        return _UNKNOWN
    try:
        dataset = load_dataset(config.data)
        found = [] if dataset.fingerprint is None else differences(saved, dataset.fingerprint())
    except DataError:
        return ""
    if found:
        cause = f"{_name(config.data)} is not the data that the run was made with: {'; '.join(found)}."
        title, action = "The run cannot be resumed", "Restore the original data, or start a new run."
        raise RunError(title, cause, action)
    return ""


def _fingerprint_in_file(directory: Path) -> str | None:
    """Return the fingerprint in a seed's run file: empty if it has none, None without a readable file."""
    path = directory / RUN_FILE
    if path.exists():
        with suppress(RunError), open_file(path) as file, reading(path):
            return read_data(file)
    return None


def _name(config: DataConfig) -> str:
    """Return the data's file or folder, or its kind."""
    return getattr(config, "path", "") or getattr(config, "folder", "") or config.kind.replace("_", " ")
