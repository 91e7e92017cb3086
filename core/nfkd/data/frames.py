"""pandas' DataFrames from pickles, read without pandas and without calling anything.

A pickle names functions and classes and has them called. Here every name of pandas' and of NumPy's that a DataFrame
needs stands for an object that only keeps what it is given, in whatever version of theirs the file was written; any
other name is refused.
"""

from __future__ import annotations

import codecs
import pickle
import re
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from nfkd.data.files import ConfigPath
from nfkd.files import open_regular

_NUMBERS = re.compile(r"[fiu][1248]")


def read_frame(place: ConfigPath) -> tuple[list[str], np.ndarray]:
    """Return the names of a DataFrame's columns and its values, (rows, columns) float64.

    Raises
    ------
    DataError
        When the file is no pickled DataFrame of numbers, or wants to call anything.
    """
    with place.reading(), open_regular(place.path) as file:
        found = _Frames(place, file).load()
        if not isinstance(found, _Kept) or found.name != "DataFrame":
            place.refuse("holds no DataFrame")
        names, blocks = _blocks(found)
        columns: list[np.ndarray | None] = [None] * len(names)
        for where, values in blocks:
            for number, row in zip(_placed(where, len(names)), _numbers(values), strict=True):
                columns[number] = row
        whole = [column for column in columns if column is not None]
        if not whole or len(whole) != len(names):
            place.refuse("its DataFrame lacks the values of a column")
        return names, np.stack(whole, axis=1).astype(np.float64)


class _Kept:
    """Stands for an object in a pickle: what it was to be made from, and its state."""

    name = ""
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any, **_: Any) -> Self:
        """Keep the arguments; a pickle makes objects with this alone."""
        made = object.__new__(cls)
        made.args = args
        return made

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


class _Frames(pickle._Unpickler):  # type: ignore[name-defined,misc]  # noqa: SLF001 - the one in C can be made to take all memory
    """An unpickler of plain values, and of pandas' and NumPy's objects as `_Kept`."""

    def __init__(self, place: ConfigPath, file: Any) -> None:
        super().__init__(file, encoding="latin-1")  # in which Python 2 kept the bytes of arrays
        self._place = place

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        place = (_PYTHON_2.get(module, module), name)
        if place in _FUNCTIONS:
            return _FUNCTIONS[place]
        if module.partition(".")[0] == "pandas" or place in _CLASSES:
            return type(name, (_Kept,), {"name": name})
        return self._place.refuse(f"wants to call {module}.{name}: such a pickle can run any program and is refused")


def _encode(text: str, encoding: str) -> bytes:
    """Stand for `codecs.encode`, with which protocol 2 writes bytes."""
    return codecs.encode(text, {"latin1": "latin-1"}[encoding])


def _made(kind: Any, *_: Any) -> Any:
    """Stand for `copyreg._reconstructor`, which makes an object without its state."""
    if not (isinstance(kind, type) and issubclass(kind, _Kept)):
        msg = "an object of an unknown kind"
        raise TypeError(msg)
    return kind()


_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _made,
}
_CLASSES = {("builtins", "object"), ("builtins", "slice"), ("numpy", "dtype"), ("numpy", "ndarray")} | {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("numeric", "_frombuffer"))
}


def _blocks(frame: _Kept) -> tuple[list[str], list[tuple[Any, Any]]]:
    """Return the names of the columns, and each block's places among them and values, (columns, rows)."""
    state = frame.state
    manager = state.get("_data", state.get("_mgr")) if isinstance(state, dict) else state
    match manager:
        case _Kept(state=(_, _, _, {"0.14.1": {"axes": axes, "blocks": blocks}})):  # pandas up to 1.3
            return _labels(axes[0]), [(block["mgr_locs"], block["values"]) for block in blocks]
        case _Kept(args=(blocks, axes, *_)):
            return _labels(axes[0]), [(block.args[1], block.args[0]) for block in blocks]
    msg = "a DataFrame of an unknown version"
    raise ValueError(msg)


def _labels(index: Any) -> list[str]:
    """Return what an index names, as text."""
    if index.name == "_new_Index":
        return _texts(index.args[1]["data"])
    msg = "an index of an unknown version"
    raise ValueError(msg)


def _texts(array: Any) -> list[str]:
    found = array.state[-1] if isinstance(array.state, tuple) else None
    values = found if isinstance(found, list) else _numbers(array).tolist()
    return [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values]


def _placed(where: Any, count: int) -> list[int]:
    """Return the places of a block's rows, given as a slice, an array or a list."""
    if isinstance(where, _Kept) and where.name == "slice":
        return list(range(count)[slice(*where.args)])
    if isinstance(where, _Kept) and where.name == "BlockPlacement":
        return _placed(where.args[0], count)
    places = where if isinstance(where, list) else _numbers(where).tolist()
    return [range(count)[place] for place in places]


def _numbers(array: Any) -> np.ndarray:
    """Return the array that NumPy would make of its parts."""
    if array.name == "_frombuffer":
        content, dtype, shape, order = array.args
        order_in_file = ""
    else:
        _, shape, dtype, by_columns, content = array.state
        order, order_in_file = ("F" if by_columns else "C"), dtype.state[1]
    code = str(dtype.args[0])
    if not _NUMBERS.fullmatch(code):
        msg = f"values of the type {code} instead of numbers"
        raise ValueError(msg)
    raw = content.encode("latin-1") if isinstance(content, str) else content
    kind = np.dtype((">" if order_in_file == ">" else "<") + code)
    return np.frombuffer(raw, kind).reshape(tuple(shape), order=order)
