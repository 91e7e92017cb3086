"""The five tables of density estimation, as "Masked Autoregressive Flow" prepares them (arXiv 1705.07057, appendix D).

The files are those of the paper's authors (https://zenodo.org/records/1161203); the procedures follow gpapamak/maf,
``datasets/*.py``. Sizes of the paper's splits:

| set | columns | train | validation | test |
|---|---|---|---|---|
| POWER | 6 | 1,659,917 | 184,435 | 204,928 |
| GAS | 8 | 852,174 | 94,685 | 105,206 |
| HEPMASS | 21 | 315,123 | 35,013 | 174,987 |
| MINIBOONE | 43 | 29,556 | 3,284 | 3,648 |
| BSDS300 | 63 | 1,000,000 | 50,000 | 250,000 |

Likelihoods are reported in the standardised units of these procedures, so that they compare with published tables:
those give the mean log-likelihood, NFKD its negative.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, ClassVar, TypeVar

import numpy as np

from nfkd.config.data import BSDS300Config, GasConfig, HepmassConfig, MiniBooNEConfig, PowerConfig, UCIConfig
from nfkd.data.archives import open_archive
from nfkd.data.arrays import open_npy
from nfkd.data.cache import cache_folder, cached, candidates
from nfkd.data.dataset import DataSplit
from nfkd.data.fetch import fetch
from nfkd.data.files import ConfigPath, FormatError, expanded, named_folder, refuse_large, stamp
from nfkd.data.frames import read_frame
from nfkd.data.hdf5 import open_array
from nfkd.data.images import FEWEST
from nfkd.data.scaling import as_float
from nfkd.data.source import Loaded, OnProgress, RemoteFile, Source
from nfkd.files import is_regular, is_taken, require_regular

_ARCHIVE = RemoteFile(
    "https://zenodo.org/records/1161203/files/data.tar.gz",
    "md5:9b9c9b0375315ad270eba4ce80c093ab",  # Zenodo publishes no SHA-256
    "uci/data.tar.gz",
    857_000_000,
)
_FIELD = "data.folder"
_MOST_UNPACKED = 32 << 30  # bytes of the archive
_ConfigT = TypeVar("_ConfigT", bound=UCIConfig)
_Splits = tuple[np.ndarray, np.ndarray, np.ndarray]


class _UCI(Source[_ConfigT]):
    """A table of the archive.

    Parameters
    ----------
    archive
        The file that holds all tables.

    Attributes
    ----------
    title
        For messages.
    features
        Number of columns after the preparation.
    members
        The files in the archive; in a folder of the user they may be without ``data/``.
    """

    title: ClassVar[str]
    features: ClassVar[int]
    members: ClassVar[tuple[str, ...]]
    origin = "downloaded"
    unit: ClassVar[str] = "nats (scaled)"

    def __init__(self, archive: RemoteFile = _ARCHIVE) -> None:
        self.downloads = (archive,)

    @property
    def shape(self) -> str:  # type: ignore[override] - made from the number of columns
        """Label of an example's shape."""
        return str(self.features)

    def load(self, config: _ConfigT) -> Loaded:
        """Return the splits, prepared as published."""
        files = self._files(config)
        with files[0].reading():
            splits = [as_float(split) for split in self.prepare(files)]
        for split in splits:
            self._check(files[0], split)
        train, validation, test = map(DataSplit, splits)
        return Loaded(self.title, train, validation, test, standardised=self.unit == "nats (scaled)")

    @abstractmethod
    def prepare(self, files: list[ConfigPath]) -> _Splits:
        """Return the training, validation and test rows, (N, features)."""

    def fetch(self, config: _ConfigT, on_progress: OnProgress) -> None:
        """Download the archive if it is missing, and unpack the files of this table."""
        if not config.folder and not self._is_unpacked():
            fetch(self.downloads, "", on_progress, title=self.title)
        self._files(config, on_progress)

    def find(self, config: _ConfigT) -> None:
        """Check that the files are there, or the archive that they are in."""
        if config.folder:
            self._in_folder(config)
        elif not self._is_unpacked():
            self._packed()

    def stamp(self, config: _ConfigT) -> Hashable:
        """Return the stamp of the files."""
        if not config.folder:
            return stamp([*self._unpacked(), *candidates(self.downloads)])
        root = expanded(config.folder)
        return stamp(path for name in self.members for path in _candidates(root, name))

    def _unpacked(self) -> list[Path]:
        return [cache_folder() / "uci" / name for name in self.members]

    def _is_unpacked(self) -> bool:
        return all(map(is_regular, self._unpacked()))

    def _files(self, config: _ConfigT, on_progress: OnProgress = lambda *_: None) -> list[ConfigPath]:
        """Return the files; they are unpacked into the cache if only the archive is there."""
        if config.folder:
            return self._in_folder(config)
        found = self._unpacked()
        if not self._is_unpacked():
            _unpack(self._packed(), dict(zip(self.members, found, strict=True)), on_progress)
        return [ConfigPath(path, "data.kind", (self.features,)) for path in found]

    def _in_folder(self, config: _ConfigT) -> list[ConfigPath]:
        root = named_folder(config.folder, _FIELD, (self.features,))
        files = []
        for member in self.members:
            path = next(filter(is_taken, _candidates(root.path, member)), None)
            if path is None:
                name = member.removeprefix("data/")
                root.refuse(
                    f"holds no {name}: unpack {_ARCHIVE.url} there, or leave the folder empty to download {self.title}"
                )
            files.append(replace(root, path=path))
        return files

    def _packed(self) -> ConfigPath:
        shape = (self.features,)
        (archive,) = cached(self.downloads, title=self.title, event_shape=shape, kind=self.kind)
        return ConfigPath(archive, "data.kind", shape)

    def _check(self, file: ConfigPath, split: np.ndarray) -> None:
        if split.shape[1] != self.features:
            file.refuse(f"gives {split.shape[1]} columns instead of {self.features}: it is not {self.title}'s file")
        if len(split) < FEWEST:
            file.refuse(f"gives a split of {len(split)} rows, and {FEWEST} are needed: it is not {self.title}'s file")
        if not np.isfinite(split).all():
            row, column = np.argwhere(~np.isfinite(split))[0]
            file.refuse(f"gives no finite number in column {column}, row {row} of a split: it is damaged")


class Power(_UCI[PowerConfig]):
    """Household electricity, one row a minute.

    Shuffled, without global reactive power and intensity, with uniform noise of the columns' rounding: 0.001 for the
    active power, 0.01 for the voltage, 1 for the three meters.
    """

    config = PowerConfig
    examples = "2,049,280"
    title, features, members = "POWER", 6, ("data/power/data.npy",)

    def prepare(self, files: list[ConfigPath]) -> _Splits:
        """Return the splits."""
        data = _matrix(files[0], 7)
        rng = np.random.RandomState(42)
        order = np.arange(len(data))
        rng.shuffle(order)
        data = np.delete(data[order], [1, 3], axis=1)
        voltage, active, meters = (rng.rand(len(data), width) for width in (1, 1, 3))
        data[:, :5] += np.hstack([0.001 * active, 0.01 * voltage, meters])
        return _standardise(*_split(data))


class Gas(_UCI[GasConfig]):
    """Chemical sensors in mixtures of ethylene and CO.

    Without the time and the two concentrations. Then the first column that correlates by more than 0.98 with another is
    removed, until there is none. Standardised over all rows.
    """

    config = GasConfig
    examples = "1,052,065"
    title, features, members = "GAS", 8, ("data/gas/ethylene_CO.pickle",)

    def prepare(self, files: list[ConfigPath]) -> _Splits:
        """Return the splits."""
        names, data = read_frame(files[0])
        data = data[:, [index for index, name in enumerate(names) if name not in ("Meth", "Eth", "Time")]]
        with np.errstate(invalid="ignore", divide="ignore"):
            near = np.atleast_2d(np.corrcoef(data, rowvar=False)) > 0.98
            kept = list(range(data.shape[1]))
            while (crowded := near[np.ix_(kept, kept)].sum(axis=1) > 1).any():
                del kept[int(np.argmax(crowded))]
            data = data[:, kept]
            return _split((data - data.mean(axis=0)) / data.std(axis=0, ddof=1))


class Hepmass(_UCI[HepmassConfig]):
    """Particle collisions of mass 1000.

    Signal events only, without columns whose smallest value occurs more than five times; standardised by the training
    file. The test file has an extra column at its end.
    """

    config = HepmassConfig
    examples = "525,123"
    title, features, members = "HEPMASS", 21, ("data/hepmass/1000_train.csv", "data/hepmass/1000_test.csv")

    def prepare(self, files: list[ConfigPath]) -> _Splits:
        """Return the splits."""
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
    """Electron neutrinos; the published file has no outliers and no columns with many equal values."""

    config = MiniBooNEConfig
    examples = "36,488"
    title, features, members = "MINIBOONE", 43, ("data/miniboone/data.npy",)

    def prepare(self, files: list[ConfigPath]) -> _Splits:
        """Return the splits."""
        return _standardise(*_split(_matrix(files[0], 1)))


class BSDS300(_UCI[BSDS300Config]):
    """Grey patches of 8×8 pixels minus their mean, without the last pixel (Uria et al. 2013, arXiv 1306.0186).

    The published splits unchanged: nothing is standardised.
    """

    config = BSDS300Config
    examples = "1,300,000"
    title, features, members = "BSDS300", 63, ("data/BSDS300/BSDS300.hdf5",)
    unit = "nats"

    def prepare(self, files: list[ConfigPath]) -> _Splits:
        """Return the splits."""
        train, validation, test = (self._read(files[0], name) for name in ("train", "validation", "test"))
        return train, validation, test

    @staticmethod
    def _read(file: ConfigPath, name: str) -> np.ndarray:
        array = open_array(file, name, file.field)
        if array.shape is None or len(array.shape) != 2 or array.dtype.kind != "f":
            file.refuse(f"its array {name!r} is not a table of numbers")
        refuse_large(file, 4 * array.size, "free some, and try again")
        return array.astype(np.float32)[:]


def _candidates(root: Path, member: str) -> list[Path]:
    return [root / member.removeprefix("data/"), root / member]


def _unpack(archive: ConfigPath, targets: dict[str, Path], on_progress: OnProgress) -> None:
    """Unpack only these members; each gets its name when it is complete."""
    with archive.reading(), open_archive(archive.path, _MOST_UNPACKED) as content:
        for member in content:
            target = targets.get(member.name.removeprefix("./"))
            is_plain = member.isreg() and not member.issparse()  # holes of a sparse one are not in the archive
            file = content.extractfile(member) if target is not None and is_plain else None
            if target is None or file is None:
                continue
            on_progress(target.name, 0, member.size)
            _copy(archive, file, target)
            on_progress(target.name, member.size, member.size)
            if all(map(is_regular, targets.values())):
                return
        missing = [name for name, path in targets.items() if not is_regular(path)]
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
        if error.strerror is None:  # of the archive's decoder
            raise
        archive.refuse(f"cannot be unpacked into {target.parent}: {error.strerror}")


def _matrix(file: ConfigPath, fewest: int) -> np.ndarray:
    """Return a table of at least `fewest` columns from a .npy file, as float64."""
    array = open_npy(file)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < fewest:
        file.refuse("is not a table of numbers")
    refuse_large(file, 8 * array.size, "free some, and try again")
    return array.astype(np.float64)


def _signal(file: ConfigPath) -> np.ndarray:
    """Return the rows of a CSV file whose first column is 1, without it; values beyond the header's are dropped."""
    import polars as pl

    options: dict[str, Any] = {"truncate_ragged_lines": True, "glob": False}
    require_regular(file.path)
    try:
        names = pl.read_csv(file.path, n_rows=0, **options).columns
        frame = pl.read_csv(file.path, schema_overrides=dict.fromkeys(names, pl.Float64), **options)
    except pl.exceptions.PanicException:  # no `Exception`
        file.refuse("cannot be read as a table: get it again")
    data = frame.to_numpy()
    return data[data[:, 0] == 1][:, 1:]


def _cut(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows without their last tenth, and that tenth."""
    count = int(0.1 * len(data))
    if not count:
        msg = f"its {len(data)} rows are too few to be split: get it again"
        raise FormatError(msg)
    return data[:-count], data[-count:]


def _split(data: np.ndarray) -> _Splits:
    """Return training, validation and test rows: the last tenth for testing, a tenth of the rest for validation."""
    rest, test = _cut(data)
    train, validation = _cut(rest)
    return train, validation, test


def _standardise(train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> _Splits:
    """Return the splits, standardised by the mean and deviation of the training and validation rows."""
    rest = np.concatenate([train, validation])
    mean, deviation = rest.mean(axis=0), rest.std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (train - mean) / deviation, (validation - mean) / deviation, (test - mean) / deviation


SOURCES = (Power(), Gas(), Hepmass(), MiniBooNE(), BSDS300())
