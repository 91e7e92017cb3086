"""Results that take long to compute for large data, such as its scaling, kept beside its index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nfkd.files import FileError, read_limited, replace_file

_VERSION = "1"  # of the results; raised when a computation changes
_LONGEST = 64 << 20  # bytes

Keep = Callable[[str, Callable[[], Any]], Any]
"""Returns the result of a name: a kept one, or else that of the function, which is then kept."""


class Results:
    """Results of one way of using an index.

    Parameters
    ----------
    folder
        Of the index.
    key
        Everything that the results depend on.
    """

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        name = hashlib.blake2b("\0".join([_VERSION, *key]).encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
        self._path = folder / f"results-{name}.json"
        self._found: dict[str, Any] = {}
        with suppress(OSError, FileError, ValueError):
            digest, _, found = read_limited(self._path, _LONGEST).partition(b"\n")
            if digest == _digest(found):  # else it is damaged
                self._found = json.loads(found)

    def __call__(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return the result of a name: plain values, exact to the bit."""
        if name not in self._found:
            self._found[name] = compute()
            with suppress(OSError, FileError):  # without space, it is computed again
                self._path.parent.mkdir(parents=True, exist_ok=True)
                found = json.dumps(self._found).encode()
                replace_file(self._path, _digest(found) + b"\n" + found)
        return self._found[name]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()


def computed(_name: str, compute: Callable[[], Any]) -> Any:
    """Return a result that is not kept."""
    return compute()
