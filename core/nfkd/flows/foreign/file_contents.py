"""What a file holds that was given as weights, recognised by its first bytes; nothing in it is run or unpickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from nfkd.files import open_regular

_HEAD = 1 << 16
_LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors
_LEGACY_TORCH = b"l\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save's magic number as a pickle, after protocol and length
_RETRY = "Download or copy the file again"
_AGAIN = "Save its tensors with torch.save(module.state_dict(), file) where it was made"
_CONVERT = (
    "A Glow of the authors' earlier code is converted by nfkd import-weights FILE --flow glow.toml. For a flow of "
    "zuko or normflows, build it, load_state_dict into it, and pass nfkd.wrap_teacher(flow) to nfkd.run. NFKD writes "
    "its own flows as .safetensors"
)
_OTHER = "Weights of NFKD are .safetensors files, such as teacher.safetensors in the directory of a run"
_MAGIC = (
    (b"\x93NUMPY", "a NumPy array (.npy)", _OTHER),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", f"{_OTHER}, beside its run.h5"),
    (b"\x1f\x8b", "compressed by gzip", "Decompress it first"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file", "Get the file with git lfs pull"),
    (b"GGUF", "a GGUF file of a language model", _OTHER),
)
_TORCH, _PICKLE, _TEXT_LABEL = "a file of torch.save", "a Python pickle", "a text"
_FOREIGN = "a .safetensors file of another program"
_TEXT = frozenset({9, 10, 12, 13, *range(32, 256)}) - {127}


def describe_contents(path: Path) -> tuple[str, str]:
    """Return what a file is instead of a complete file of NFKD's weights, and what to do.

    Returns
    -------
    tuple[str, str]
        Such as ``a file of torch.save`` and an advice, both without a full stop; two empty texts for a file that is
        not recognised or cannot be read.
    """
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return "", ""
    if not head:
        return "empty", _RETRY
    if head.startswith(b"PK\x03\x04"):
        return _describe_archive(path)
    if head[:1] == b"\x80" and 2 <= head[1] <= 5:
        legacy = _LEGACY_TORCH in head[:32]
        return (f"{_TORCH}, in its old format", _CONVERT) if legacy else (_PICKLE, _AGAIN)
    for magic, what, action in _MAGIC:
        if head.startswith(magic):
            return what, action
    return _describe_tensors(path, head) or _describe_text(head)


def describe_no_tensors(path: Path) -> str:
    """Return what a file is, such as ``is an HTML page``, if neither torch nor safetensors can open it; else empty."""
    what, _ = describe_contents(path)
    openable = what.startswith((_TORCH, _PICKLE, _FOREIGN))
    return "" if openable or not what else f"is {what}"


def is_text(path: Path) -> bool:
    """Return whether a file is a text, such as a TOML file."""
    return describe_contents(path)[0] in {"", "empty", _TEXT_LABEL}


def _describe_archive(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return "a zip archive (such as a file of torch.save) that is not complete", _RETRY
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program of torch.jit.save", _AGAIN
    if any(name.endswith("/data.pkl") for name in names):
        return _TORCH, _CONVERT
    if names and all(name.endswith(".npy") for name in names):
        return "a file of NumPy arrays (.npz)", _OTHER
    return "a zip archive", "Unpack it and give the file inside"


def _describe_tensors(path: Path, head: bytes) -> tuple[str, str] | None:
    """Recognise a safetensors file: the length of its header, the header as JSON, then the tensors."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or not 2 <= length <= _LONGEST_HEADER:
        return None
    available = path.stat().st_size - 8 - length
    header = _parse_header(head[8 : 8 + length]) if available >= 0 else None
    if available < 0 or (header is not None and header[1] > available):
        return "a .safetensors file that is not complete", _RETRY
    if header is None or header[0] & {"flow", "foreign"}:
        return None
    if "position" in header[0]:
        return "a checkpoint of a run, not weights", "Give teacher.safetensors of that run, or resume the run"
    return _FOREIGN, _CONVERT


def _parse_header(text: bytes) -> tuple[set[str], int] | None:
    """Return the names of the metadata in a header, and where the tensors end; None if it cannot be parsed."""
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        return set(metadata), max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _describe_text(head: bytes) -> tuple[str, str]:
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "an HTML page, not the file behind it", "Download the file itself, for instance with its raw link"
    return (_TEXT_LABEL, _OTHER) if _TEXT.issuperset(head) else ("", "")
