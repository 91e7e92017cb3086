"""Safe opening of safetensors files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from nfkd.files import FileError, FileTooLargeError, require_regular
from nfkd.text import is_utf8_name


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file for reading.

    Raises
    ------
    FileError
        When the path is not a regular file or not UTF-8 (the library needs it), or the file is larger than the memory.
    OSError
        When the file is missing or may not be read.
    SafetensorError
        When it is not a complete safetensors file.
    """
    require_regular(path)
    if not is_utf8_name(str(path)):
        raise FileError(errno.EILSEQ, "has a path that is not valid UTF-8: rename the folder", str(path))
    try:
        opened = safe_open(path, framework="pt")
    except MemoryError as error:  # the file is mapped as a whole
        raise FileTooLargeError(errno.ENOMEM, "is larger than the memory", str(path)) from error
    with opened as file:
        yield file
