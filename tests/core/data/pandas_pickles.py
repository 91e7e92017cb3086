"""Pickles as pandas writes them, made without pandas by classes of the same names and states."""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

_NAMES = (
    "pandas",
    "pandas.core",
    "pandas.core.frame",
    "pandas.core.internals",
    "pandas.indexes",
    "pandas.indexes.base",
)
_MODULES = {name: ModuleType(name) for name in _NAMES}


def _of(module: str) -> Callable[[Any], Any]:
    def register(item: Any) -> Any:
        item.__module__ = module
        setattr(_MODULES[module], item.__name__, item)
        return item

    return register


@_of("pandas.indexes.base")
def _new_Index(cls: type, made_from: dict[str, Any]) -> None:
    raise NotImplementedError


@_of("pandas.indexes.base")
class Index:
    def __init__(self, names: list[str]) -> None:
        self.data = np.array(names, dtype=object)

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_Index, (Index, {"data": self.data, "name": None}), None


@_of("pandas.core.internals")
class Block:
    def __init__(self, values: np.ndarray, where: Any) -> None:
        self.values, self.where = values, where

    def __reduce__(self) -> tuple[Any, ...]:
        return Block, (self.values, self.where, 2)


@_of("pandas.core.internals")
class BlockManager:
    """Two blocks: every other column by a slice, the rest by their indices."""

    def __init__(self, names: list[str], values: np.ndarray, layout: str) -> None:
        whole = Block(np.asfortranarray(values[:, ::2].T), slice(0, values.shape[1], 2))
        rest = Block(values[:, 1::2].T.copy(), np.arange(1, values.shape[1], 2))
        self.axes, self.blocks, self.layout = [Index(names), Index([])], (whole, rest), layout

    def __reduce_ex__(self, version: Any) -> Any:
        if self.layout == "blocks":
            return BlockManager, (self.blocks, self.axes)
        blocks = [{"values": block.values, "mgr_locs": block.where} for block in self.blocks]
        state = (self.axes, [], [], {self.layout: {"axes": self.axes, "blocks": blocks}})
        if version < 2:
            return copyreg._reconstructor, (BlockManager, object, None), state  # type: ignore[attr-defined]
        return copyreg.__newobj__, (BlockManager,), state  # type: ignore[attr-defined]


@_of("pandas.core.frame")
class DataFrame:
    def __init__(self, manager: BlockManager) -> None:
        self._data, self._typ, self._metadata = manager, "dataframe", []


class _Python2(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes bytes and text as Python 2 did."""

    def string(self: Any, value: str | bytes) -> None:
        raw = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: string, str: string}  # type: ignore[attr-defined]


@contextmanager
def _known() -> Iterator[None]:
    sys.modules.update(_MODULES)
    try:
        yield
    finally:
        for name in _NAMES:
            del sys.modules[name]


def pandas_pickle(
    names: list[str], values: np.ndarray, layout: str = "0.14.1", protocol: int = 2, python: int = 3
) -> bytes:
    """Return a pickled DataFrame.

    Parameters
    ----------
    names, values
        Of the columns; (rows, columns).
    layout
        ``0.14.1``: the state that pandas wrote since that version; ``blocks``: what it writes since 1.3.
    protocol, python
        Protocol of the pickle, and the version of Python that writes it.
    """
    sink = io.BytesIO()
    with _known():
        writer = _Python2 if python == 2 else pickle.Pickler
        writer(sink, protocol).dump(DataFrame(BlockManager(names, values, layout)))
    content = sink.getvalue()
    return content.replace(b"cnumpy._core", b"cnumpy.core") if python == 2 else content
