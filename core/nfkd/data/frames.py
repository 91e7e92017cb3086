"""Pickled pandas DataFrames, read without pandas."""

from __future__ import annotations

from typing import Any

import numpy as np

from nfkd.data.files import ConfigPath, FormatError
from nfkd.data.pickles import PickledObject, load_pickle, pickled_array
from nfkd.files import open_regular


def read_frame(file: ConfigPath) -> tuple[list[str], np.ndarray]:
    """Return the column names of a DataFrame and its values, (rows, columns) float64.

    Raises
    ------
    DataError
        If the file is no pickled DataFrame of numbers, or names functions to call.
    """
    with file.reading(), open_regular(file.path) as content:
        frame = load_pickle(file, content)
        if not isinstance(frame, PickledObject) or frame.name != "DataFrame":
            file.refuse("holds no DataFrame")
        names, blocks = _blocks(frame)
        columns: list[np.ndarray | None] = [None] * len(names)
        for where, values in blocks:
            for index, row in zip(_indices(where, len(names)), pickled_array(values), strict=True):
                columns[index] = row
        whole = [column for column in columns if column is not None]
        if not whole or len(whole) != len(names):
            file.refuse("its DataFrame lacks the values of a column")
        return names, np.stack(whole, axis=1).astype(np.float64)


def _blocks(frame: PickledObject) -> tuple[list[str], list[tuple[Any, Any]]]:
    """Return the names of the columns, and each block's column indices and values, (columns, rows)."""
    state = frame.state
    manager = state.get("_data", state.get("_mgr")) if isinstance(state, dict) else state
    match manager:
        case PickledObject(state=(_, _, _, {"0.14.1": {"axes": axes, "blocks": blocks}})):  # pandas up to 1.3
            return _labels(axes[0]), [(block["mgr_locs"], block["values"]) for block in blocks]
        case PickledObject(args=(blocks, axes, *_)):
            return _labels(axes[0]), [(block.args[1], block.args[0]) for block in blocks]
    msg = "its DataFrame is of an unknown version: save it with another version of pandas"
    raise FormatError(msg)


def _labels(index: Any) -> list[str]:
    """Return the labels of an index as text."""
    if index.name != "_new_Index":
        msg = "the index of its DataFrame is of an unknown version: save it with another version of pandas"
        raise FormatError(msg)
    array = index.args[1]["data"]
    found = array.state[-1] if isinstance(array.state, tuple) else None
    values = found if isinstance(found, list) else pickled_array(array).tolist()
    return [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values]


def _indices(where: Any, count: int) -> list[int]:
    """Return the column indices of a block, stored as a slice, an array or a list."""
    if isinstance(where, PickledObject) and where.name == "slice":
        return list(range(count)[slice(*where.args)])
    if isinstance(where, PickledObject) and where.name == "BlockPlacement":
        return _indices(where.args[0], count)
    indices = where if isinstance(where, list) else pickled_array(where).tolist()
    return [range(count)[index] for index in indices]
