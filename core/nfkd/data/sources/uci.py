"""The five tables of density estimation, as "Masked Autoregressive Flow" prepares them (arXiv 1705.07057, appendix D).

The files are those of the paper's authors (https://zenodo.org/records/1161203), the procedures those of gpapamak/maf,
``datasets/*.py``, done again here. Sizes of the paper's parts:

| set | columns | train | validation | test |
|---|---|---|---|---|
| POWER | 6 | 1,659,917 | 184,435 | 204,928 |
| GAS | 8 | 852,174 | 94,685 | 105,206 |
| HEPMASS | 21 | 315,123 | 35,013 | 174,987 |
| MINIBOONE | 43 | 29,556 | 3,284 | 3,648 |
| BSDS300 | 63 | 1,000,000 | 50,000 | 250,000 |

Standardising is part of the procedures, so that likelihoods stay in those units, where they compare with the tables of
the literature: theirs are the mean log-likelihood, NFKD's the negative of it.

Zenodo publishes the MD5 of its files and no more; the archive is checked by that.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from nfkd.config.data import BSDS300Config, GasConfig, HepmassConfig, MiniBooNEConfig, PowerConfig
from nfkd.data.archives import open_archive
from nfkd.data.arrays import open_npy
from nfkd.data.cache import cache_folder, cached, places, stamp
from nfkd.data.dataset import DataSplit
from nfkd.data.fetch import fetch
from nfkd.data.files import ConfigPath, expanded, named_folder, refuse_large
from nfkd.data.frames import read_frame
from nfkd.data.hdf5 import open_array
from nfkd.data.scaling import as_float
from nfkd.data.source import ConfigT, Loaded, RemoteFile, Said, Source
from nfkd.files import is_regular, is_taken, require_regular

_ARCHIVE = RemoteFile(
    "https://zenodo.org/records/1161203/files/data.tar.gz",
    "md5:9b9c9b0375315ad270eba4ce80c093ab",
    "uci/data.tar.gz",
    857_000_000,
)
_FIELD = "data.folder"
_LEAST = 8
_MOST_UNPACKED = 32 << 30  # bytes of the archive
_Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


class _UCI(Source[ConfigT]):
    """A table out of the archive.

    Parameters
    ----------
    archive
        The file that holds all of them.

    Attributes
    ----------
    title, features
        For messages, and the number of columns in the end.
    members
        The files of the archive that are wanted; in a folder of the user's they may be without ``data/``.
    """

    title: ClassVar[str]
    features: ClassVar[int]
    members: ClassVar[tuple[str, ...]]
    origin = "downloaded"
    unit: ClassVar[str] = "nats (scaled)"

    def __init__(self, archive: RemoteFile = _ARCHIVE) -> None:
        self._archive = archive

    @property
    def shape(self) -> str:  # type: ignore[override] - made from the number of columns
        """Of an example, in words."""
        return str(self.features)

    @property
    def downloads(self) -> tuple[RemoteFile, ...]:
        """The archive of all five tables."""
        return (self._archive,)

    def load(self, config: ConfigT) -> Loaded:
        """Return the parts, prepared as published."""
        files = self._files(_folder(config))
        with files[0].reading():
            parts = [as_float(part) for part in self.prepare(files)]
        for part in parts:
            self._check(files[0], part)
        train, validation, test = (DataSplit(part) for part in parts)
        return Loaded(self.title, train, validation, test, standardised=self.unit == "nats (scaled)")

    @abstractmethod
    def prepare(self, files: list[ConfigPath]) -> _Parts:
        """Return the training, validation and test rows, (N, features)."""

    def fetch(self, config: ConfigT, said: Said) -> None:
        """Download the archive where it is missing, and unpack what is wanted of it."""
        if not _folder(config) and not self._is_unpacked():
            fetch([self._archive], "", said, title=self.title)
        self._files(_folder(config), said)

    def find(self, config: ConfigT) -> None:
        """Look for the files, or for the archive that they are in."""
        if _folder(config):
            self._of_the_user(_folder(config))
        elif not self._is_unpacked():
            self._packed()

    def stamp(self, config: ConfigT) -> Hashable:
        """Return the sizes and times of the files."""
        folder = _folder(config)
        if not folder:
            return stamp([*self._unpacked(), *places([self._archive])])
        root = expanded(folder)
        return stamp(path for name in self.members for path in _candidates(root, name))

    def _unpacked(self) -> list[Path]:
        return [cache_folder() / "uci" / name for name in self.members]

    def _is_unpacked(self) -> bool:
        return all(is_regular(path) for path in self._unpacked())

    def _files(self, folder: str, said: Said | None = None) -> list[ConfigPath]:
        """Return where the files are; they are unpacked into the cache where only the archive is there."""
        if folder:
            return self._of_the_user(folder)
        found = self._unpacked()
        if not self._is_unpacked():
            _unpack(self._packed(), dict(zip(self.members, found, strict=True)), said)
        return [ConfigPath(path, "data.kind", (self.features,)) for path in found]

    def _of_the_user(self, folder: str) -> list[ConfigPath]:
        root = named_folder(folder, _FIELD, (self.features,))
        return [_of_the_user(root, name, self.title) for name in self.members]

    def _packed(self) -> ConfigPath:
        shape = (self.features,)
        (archive,) = cached([self._archive], title=self.title, event_shape=shape, kind=self.kind)
        return ConfigPath(archive, "data.kind", shape)

    def _check(self, place: ConfigPath, part: np.ndarray) -> None:
        if part.shape[1] != self.features:
            place.refuse(f"gives {part.shape[1]} columns instead of {self.features}: it is not {self.title}'s file")
        if len(part) < _LEAST:
            place.refuse(f"leaves a part with {len(part)} rows, and {_LEAST} are needed: it is not {self.title}'s file")
        if not np.isfinite(part).all():
            row, column = np.argwhere(~np.isfinite(part))[0]
            place.refuse(f"gives no finite number in column {column}, as in row {row} of a part: it is damaged")


class Power(_UCI[PowerConfig]):
    """Household electricity, one row a minute.

    Shuffled; global reactive power and intensity left out; uniform noise as wide as a column's rounding: 0.001 for the
    active power, 0.01 for the voltage, 1 for the three meters.
    """

    config = PowerConfig
    examples = "2,049,280"
    title, features, members = "POWER", 6, ("data/power/data.npy",)

    def prepare(self, files: list[ConfigPath]) -> _Parts:
        """Return the parts."""
        data = _matrix(files[0], 7)
        rng = np.random.RandomState(42)
        order = np.arange(len(data))
        rng.shuffle(order)
        data = np.delete(data[order], [1, 3], axis=1)
        voltage, active, meters = (rng.rand(len(data), width) for width in (1, 1, 3))
        data[:, :5] += np.hstack([0.001 * active, 0.01 * voltage, meters])
        return _standardised(*_split(data))


class Gas(_UCI[GasConfig]):
    """Chemical sensors in mixtures of ethylene and CO.

    Time and the two concentrations left out, then, over and over, the first column that correlates by more than 0.98
    with another; standardised over all rows.
    """

    config = GasConfig
    examples = "1,052,065"
    title, features, members = "GAS", 8, ("data/gas/ethylene_CO.pickle",)

    def prepare(self, files: list[ConfigPath]) -> _Parts:
        """Return the parts."""
        names, data = read_frame(files[0])
        data = data[:, [number for number, name in enumerate(names) if name not in ("Meth", "Eth", "Time")]]
        with np.errstate(invalid="ignore", divide="ignore"):
            near = np.atleast_2d(np.corrcoef(data, rowvar=False)) > 0.98
            kept = list(range(data.shape[1]))
            while (crowded := near[np.ix_(kept, kept)].sum(axis=1) > 1).any():
                del kept[int(np.argmax(crowded))]
            data = data[:, kept]
            return _split((data - data.mean(axis=0)) / data.std(axis=0, ddof=1))


class Hepmass(_UCI[HepmassConfig]):
    """Particle collisions of mass 1000.

    Signal events alone; columns whose smallest value occurs more than five times left out; standardised by the training
    file. The test file has a column too many at its end.
    """

    config = HepmassConfig
    examples = "525,123"
    title, features, members = "HEPMASS", 21, ("data/hepmass/1000_train.csv", "data/hepmass/1000_test.csv")

    def prepare(self, files: list[ConfigPath]) -> _Parts:
        """Return the parts."""
        train, test = _signal(files[0]), _signal(files[1])[:, :-1]
        if train.shape[1] != test.shape[1]:
            files[1].refuse(f"has {test.shape[1] + 2} columns instead of {train.shape[1] + 2}")
        mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            train, test = (train - mean) / deviation, (test - mean) / deviation
        kept = (train == train.min(axis=0)).sum(axis=0) <= 5
        train, test = train[:, kept], test[:, kept]
        train, validation = _cut(train)
        return train, validation, test


class MiniBooNE(_UCI[MiniBooNEConfig]):
    """Electron neutrinos; the published file lacks outliers and columns with many equal values already."""

    config = MiniBooNEConfig
    examples = "36,488"
    title, features, members = "MINIBOONE", 43, ("data/miniboone/data.npy",)

    def prepare(self, files: list[ConfigPath]) -> _Parts:
        """Return the parts."""
        return _standardised(*_split(_matrix(files[0], 1)))


class BSDS300(_UCI[BSDS300Config]):
    """Grey patches of 8×8 pixels, the mean taken away and the last pixel left out (Uria et al. 2013, arXiv 1306.0186).

    The published parts as they are: nothing is standardised.
    """

    config = BSDS300Config
    examples = "1,300,000"
    title, features, members = "BSDS300", 63, ("data/BSDS300/BSDS300.hdf5",)
    unit = "nats"

    def prepare(self, files: list[ConfigPath]) -> _Parts:
        """Return the parts."""
        train, validation, test = (self._part(files[0], name) for name in ("train", "validation", "test"))
        return train, validation, test

    @staticmethod
    def _part(place: ConfigPath, name: str) -> np.ndarray:
        array = open_array(place.path, name, at=place.field)
        if array.shape is None or len(array.shape) != 2 or array.dtype.kind != "f":
            place.refuse(f"its array {name!r} is no table of numbers")
        refuse_large(place, 4 * array.size, "free some, and try again")
        return array.astype(np.float32)[:]


def _folder(config: object) -> str:
    return getattr(config, "folder", "")


def _candidates(root: Path, member: str) -> list[Path]:
    return [root / member.removeprefix("data/"), root / member]


def _of_the_user(root: ConfigPath, member: str, title: str) -> ConfigPath:
    for path in _candidates(root.path, member):
        if is_taken(path):
            return replace(root, path=path)
    name = member.removeprefix("data/")
    return root.refuse(f"holds no {name}: unpack {_ARCHIVE.url} there, or leave the folder empty to download {title}")


def _unpack(archive: ConfigPath, wanted: dict[str, Path], said: Said | None) -> None:
    """Unpack the wanted members alone, each under its name only when all of it is there."""
    with archive.reading(), open_archive(archive.path, _MOST_UNPACKED) as content:
        for member in content:
            target = wanted.get(member.name.removeprefix("./"))
            is_plain = member.isreg() and not member.issparse()  # holes of a sparse one are not in the archive
            file = content.extractfile(member) if target is not None and is_plain else None
            if target is None or file is None:
                continue
            if said is not None:
                said(target.name, 0, member.size)
            _copy(archive, file, target)
            if said is not None:
                said(target.name, member.size, member.size)
            if all(is_regular(path) for path in wanted.values()):
                return
        missing = [name for name, path in wanted.items() if not is_regular(path)]
        archive.refuse(f"holds no {missing[0]}: get it again")


def _copy(archive: ConfigPath, file: IO[bytes], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            part = Path(folder) / target.name
            with part.open("wb") as sink:
                shutil.copyfileobj(file, sink, 1 << 20)
            part.replace(target)
    except OSError as error:
        archive.refuse(f"cannot be unpacked into {target.parent}: {error.strerror or error}")


def _matrix(place: ConfigPath, least: int) -> np.ndarray:
    """Return a table of at least so many columns from a .npy file, as float64."""
    array = open_npy(place)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < least:
        place.refuse("is no table of numbers")
    refuse_large(place, 8 * array.size, "free some, and try again")
    return array.astype(np.float64)


def _signal(place: ConfigPath) -> np.ndarray:
    """Return the rows of a CSV file whose first column is 1, without it; fields beyond the header's are left out."""
    import polars as pl

    options: dict[str, Any] = {"truncate_ragged_lines": True, "glob": False}
    require_regular(place.path)
    try:
        names = pl.read_csv(place.path, n_rows=0, **options).columns
        frame = pl.read_csv(place.path, schema_overrides=dict.fromkeys(names, pl.Float64), **options)
    except pl.exceptions.PanicException as error:
        place.refuse(f"cannot be read as a table: {error}")
    data = frame.to_numpy()
    return data[data[:, 0] == 1][:, 1:]


def _cut(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows without their last tenth, and that tenth."""
    count = int(0.1 * len(data))
    if not count:
        msg = f"{len(data)} rows are too few to be split"
        raise ValueError(msg)
    return data[:-count], data[-count:]


def _split(data: np.ndarray) -> _Parts:
    """Return training, validation and test rows: the last tenth is for testing, a tenth of the rest for validation."""
    rest, test = _cut(data)
    train, validation = _cut(rest)
    return train, validation, test


def _standardised(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> _Parts:
    """Return the parts in units of the deviation of training and validation rows."""
    rest = np.concatenate([train, validation])
    mean, deviation = rest.mean(axis=0), rest.std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (train - mean) / deviation, (validation - mean) / deviation, (test - mean) / deviation


SOURCES = (Power(), Gas(), Hepmass(), MiniBooNE(), BSDS300())
