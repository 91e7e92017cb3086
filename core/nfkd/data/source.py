"""The interface of a source of data, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from nfkd.config import Config, ConfigProblem
from nfkd.config.tables import Scaling
from nfkd.data.augmentation import PLAIN, Augmentation
from nfkd.data.dataset import DataError, DataSplit, UnusedColumn
from nfkd.data.files import stamp
from nfkd.data.results import Keep

ConfigT = TypeVar("ConfigT", bound=Config)
OnProgress = Callable[[str, int, int], None]
"""Called during a download with the file's name, the bytes received, and the bytes in all (0 if unknown)."""


@dataclass(frozen=True)
class Loaded:
    """What a source returns.

    Attributes
    ----------
    name
        For titles, such as ``two moons``.
    train
        All examples, or the training split if the others are set.
    validation, test
        The data set's own splits. If None, they are split off from `train` at random, by the config's fractions.
    levels
        Number of levels of an image's channels; None for vectors.
    prepare
        Called with the training split; returns a function that is applied to every split before the scaling.
    scaling
        How vectors and their context are scaled, fitted on the training split.
    dequantize
        Names of the columns of vectors that get noise; ``auto`` alone for all with repeated values.
    keep
        Keeps results of data on disk; None for other data.
    hash_whole
        Whether the fingerprint is that of all values, although they are read on access.
    standardised, gaussian_noise, augmentation, columns, missing, reading, unused, warnings, split
        As in `Dataset`.
    """

    name: str
    train: DataSplit
    validation: DataSplit | None = None
    test: DataSplit | None = None
    levels: int | None = None
    prepare: Callable[[DataSplit], Callable[[DataSplit], DataSplit]] | None = None
    scaling: Scaling = "none"
    dequantize: tuple[str, ...] = ()
    keep: Keep | None = None
    hash_whole: bool = False
    standardised: bool = False
    gaussian_noise: float = 0.0
    augmentation: Augmentation = PLAIN
    columns: tuple[str, ...] = ()
    missing: tuple[int, ...] = ()
    reading: str = ""
    unused: tuple[UnusedColumn, ...] = ()
    warnings: tuple[ConfigProblem, ...] = ()
    split: str = ""


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Attributes
    ----------
    url
        Its address.
    sha256
        SHA-256 of its bytes; other bytes are refused. If its publisher gives only an MD5: ``md5:`` and that.
    name
        Path in NFKD's cache, such as ``mnist/train-images-idx3-ubyte.gz``.
    size
        In bytes; 0 if it is not known.
    """

    url: str
    sha256: str
    name: str
    size: int = 0

    @property
    def checksum(self) -> tuple[str, str]:
        """The algorithm as `hashlib` names it, and the digits."""
        algorithm, _, digits = self.sha256.rpartition(":")
        return algorithm or "sha256", digits

    @property
    def checksum_label(self) -> str:
        """The name of the algorithm in messages."""
        return "MD5" if self.checksum[0] == "md5" else "SHA-256"


class NotFetchedError(DataError):
    """Data whose files are not on this machine yet, but can be downloaded.

    Attributes
    ----------
    files
        The missing files.
    size
        Of all of them in bytes; 0 if the size of one is not known.
    by_hand
        Where to get them without a command, and where to put them.
    """

    def __init__(
        self,
        files: Sequence[RemoteFile],
        event_shape: tuple[int, ...],
        title: str,
        folder: Path,
        *,
        kind: str = "",
        found: str = "",
    ) -> None:
        self.files = list(files)
        self.size = sum(file.size for file in files) if all(file.size for file in files) else 0
        size = f" ({self.size / 1e6:,.0f} MB)" if self.size else ""
        by_command = f" (nfkd data fetch {kind})" if kind else ""
        message = f"{title} is not on this machine yet{size}: download it{by_command}"
        self.by_hand = f"get {_addresses(self.files)} and put {'it' if len(files) == 1 else 'them'} into {folder}"
        super().__init__([ConfigProblem("data.kind", message + (f" ({found})" if found else ""))], event_shape)

    def __str__(self) -> str:
        return f"{super().__str__()}, or by hand {self.by_hand}"


def _addresses(files: Sequence[RemoteFile]) -> str:
    """Return the files' addresses for a message; an address that several files share appears once."""
    if len(files) == 1:
        return files[0].url
    folders = {file.url.rpartition("/")[0] for file in files}
    names = [file.url.rpartition("/")[2] if len(folders) == 1 else file.url for file in files]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} from {folders.pop()}/" if len(folders) == 1 else listed


class Source(ABC, Generic[ConfigT]):
    """One kind of data.

    A module in `nfkd.data.sources` lists its instances in ``SOURCES``; `load_dataset`, ``nfkd data``, the form's
    preview and README's table find them there.

    Attributes
    ----------
    config
        The config's class; its ``kind`` names the source and its docstring describes it.
    shape
        Label of an example's shape, such as ``1×8×8``.
    examples
        Label of the number of examples in all splits, such as ``70,000``; empty if the config or the file decides.
    origin
        Label of where the examples come from, such as ``drawn with a seed``.
    unit
        Of the likelihood, as in `Dataset`; of a table with a choice of scaling, that of the default.
    downloads
        The files that `fetch` can download.
    """

    config: ClassVar[type[Config]]
    shape: ClassVar[str]
    examples: ClassVar[str] = ""
    origin: ClassVar[str]
    unit: ClassVar[str]
    downloads: Sequence[RemoteFile] = ()

    @property
    def kind(self) -> str:
        """The name of the source in a config."""
        return self.config.model_fields["kind"].default

    @abstractmethod
    def load(self, config: ConfigT) -> Loaded:
        """Return the examples; the same config and files always give the same.

        Raises
        ------
        NotFetchedError
            If files are missing that can be downloaded; loading never downloads.
        DataError
            If the data cannot be used; the problems say what, where and what to do.
        """

    def find(self, config: ConfigT) -> None:
        """Check that the files are there, without reading them; raise as `load` if not.

        Does nothing by default: data that is drawn, or comes with a library, is always there.
        """

    def fetch(self, config: ConfigT, on_progress: OnProgress) -> None:
        """Download the missing files. Does nothing by default."""

    def value_files(self, config: ConfigT) -> Iterable[Path]:
        """Return the files whose values may be read on access. None by default."""
        return ()

    def suggest(self, config: ConfigT) -> dict[str, int | bool]:
        """Return settings that fit the user's files better than those of the config. None by default."""
        return {}

    def stamp(self, config: ConfigT) -> Hashable:
        """Return a value that changes when the files do, so that they are read again."""
        return hash(stamp(self.value_files(config)))
