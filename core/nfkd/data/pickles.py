"""Pickles of arrays and tables, read without calling anything that they name.

A pickle names functions and classes and has them called. Here the names that NumPy's arrays and pandas' tables need
stand for objects that only store their arguments and state, in any version of these libraries. All others are refused.
"""

from __future__ import annotations

import codecs
import pickle
import re
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from nfkd.data.files import ConfigPath, FormatError

_NUMBERS = re.compile(r"[fiu][1248]")


class PickledObject:
    """Stands for an object in a pickle: the arguments of its constructor, and its state."""

    name = ""
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any, **_: Any) -> Self:
        """Store the arguments; a pickle makes objects with this method alone."""
        made = object.__new__(cls)
        made.args = args
        return made

    def __setstate__(self, state: Any) -> None:
        """Store the state."""
        self.state = state


def load_pickle(file: ConfigPath, content: Any) -> Any:
    """Return what a pickle holds: plain values, and each object as a `PickledObject`.

    Raises
    ------
    DataError
        If it names anything else. A damaged pickle raises any exception.
    """
    return _Unpickler(file, content).load()


def pickled_array(array: Any) -> np.ndarray:
    """Return the NumPy array that a `PickledObject` stands for.

    Raises
    ------
    FormatError
        If it does not hold numbers. A damaged one raises any exception.
    """
    if array.name == "_frombuffer":
        content, dtype, shape, order = array.args
        order_in_file = ""
    else:
        _, shape, dtype, by_columns, content = array.state
        order, order_in_file = ("F" if by_columns else "C"), dtype.state[1]
    code = str(dtype.args[0])
    if not _NUMBERS.fullmatch(code):
        msg = f"holds values of the type {code} instead of numbers"
        raise FormatError(msg)
    raw = content.encode("latin-1") if isinstance(content, str) else content
    return np.frombuffer(raw, (">" if order_in_file == ">" else "<") + code).reshape(tuple(shape), order=order)


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]  # noqa: SLF001 - the one in C can be made to take all memory
    """An unpickler of plain values and `PickledObject`s."""

    def __init__(self, file: ConfigPath, content: Any) -> None:
        super().__init__(content, encoding="latin-1")  # Python 2 kept the bytes of arrays in text
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        key = (_PYTHON_2.get(module, module), name)
        if key in _FUNCTIONS:
            return _FUNCTIONS[key]
        if module.partition(".")[0] == "pandas" or key in _CLASSES:
            return type(name, (PickledObject,), {"name": name})
        return self._file.refuse(f"wants to call {module}.{name}: such a pickle can run any program and is refused")


def _encode(text: str, encoding: str) -> bytes:
    """Stand for `codecs.encode`, with which protocol 2 writes bytes."""
    return codecs.encode(text, {"latin1": "latin-1"}[encoding])


def _reconstruct(kind: Any, *_: Any) -> Any:
    """Stand for `copyreg._reconstructor`, which makes an object without its state."""
    if not (isinstance(kind, type) and issubclass(kind, PickledObject)):
        msg = "an object of an unknown kind"
        raise TypeError(msg)
    return kind()


_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstruct,
}
_CLASSES = {("builtins", "object"), ("builtins", "slice"), ("numpy", "dtype"), ("numpy", "ndarray")} | {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("numeric", "_frombuffer"))
}
