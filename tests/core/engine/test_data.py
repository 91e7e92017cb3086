"""Data sets in the engine: previews, downloads with progress, cancelling, and named data sets."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.data import DigitsConfig, ImageStackConfig, MNISTConfig, TableConfig, TwoMoonsConfig
from nfkd.config.datasets import add_dataset
from nfkd.config.toml import toml_text
from nfkd.data import load_dataset
from nfkd.data.cache import cached
from nfkd.data.dataset import DataSplit
from nfkd.data.fetch import fetch
from nfkd.data.preview import preview_dataset
from nfkd.data.source import Loaded, OnProgress, RemoteFile, Source
from nfkd.data.sources import SOURCES
from nfkd.engine.core import Refused
from nfkd.protocol import data as ask
from nfkd.protocol.events import DataProgress
from nfkd.protocol.requests import Describe, Description, Done, Reply
from tests.core.data.loopback import Site, serving
from tests.core.engine.test_engine import Watched, run_engine
from tests.core.tiny import digits

MNIST = toml_text(MNISTConfig())


def array_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), np.uint8))
    return file.getvalue()


class Far(Source[MNISTConfig]):
    """Images from the loopback server."""

    config = MNISTConfig
    shape = "1×8×8"
    files: ClassVar[list[RemoteFile]] = []

    def load(self, config: MNISTConfig) -> Loaded:
        [path] = cached(self.files, config.folder, title="Far", event_shape=(1, 8, 8))
        split = DataSplit(np.load(path))
        return Loaded(name="far", train=split, validation=split, test=split, levels=256)

    def fetch(self, config: MNISTConfig, on_progress: OnProgress) -> None:
        fetch(self.files, config.folder, on_progress, title="Far")


class Endless(Far):
    """A download that never ends."""

    def fetch(self, config: MNISTConfig, on_progress: OnProgress) -> None:
        del config
        received = 0
        while True:
            received += 1
            on_progress("far.npy", received, 0)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with the only file of a data set that replaces MNIST."""
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NFKD_DATASETS", str(tmp_path / "datasets"))
    content = array_file()
    with serving(Site(files={"/far.npy": content})) as site:
        file = RemoteFile(f"{site.address}/far.npy", hashlib.sha256(content).hexdigest(), "far/far.npy", len(content))
        monkeypatch.setattr(Far, "files", [file])
        monkeypatch.setitem(SOURCES, "mnist", Far())
        yield site


# --- previews ---------------------------------------------------------------------------------------------------------


def test_a_preview_of_images_shows_training_images() -> None:
    preview = preview_dataset(DigitsConfig())
    dataset = load_dataset(DigitsConfig())
    assert preview.summary == dataset.summary
    assert preview.counts == [len(dataset.train), len(dataset.validation), len(dataset.test)]
    assert (preview.unit, preview.levels, preview.event_shape) == ("bits/dim", 17, [1, 8, 8])
    assert preview.images is not None
    assert preview.images.dtype == np.uint8
    bunch: Any = load_digits()
    known = {image.tobytes() for image in bunch.images.astype(np.uint8)}
    assert {np.rint(image / 255 * 16).astype(np.uint8).tobytes() for image in preview.images} <= known


def test_large_images_are_downscaled(tmp_path: Path) -> None:
    images = np.zeros((100, 3, 130, 100), np.uint8)
    images[:, 0, :60] = 255
    np.save(tmp_path / "x.npy", images)
    shown = preview_dataset(ImageStackConfig(path=str(tmp_path / "x.npy"))).images
    assert shown is not None
    assert shown.shape == (64, 3, 43, 33)
    assert (shown[:, 0, :20] == 255).all()
    assert (shown[:, 0, 21:] == 0).all()
    assert (shown[:, 1:] == 0).all()


def test_a_preview_of_the_plane_shows_points() -> None:
    preview = preview_dataset(TwoMoonsConfig())
    assert preview.points is not None
    assert preview.points.shape == (2000, 2)
    points, _ = make_moons(6000, noise=0.08, random_state=0)
    known = {point.tobytes() for point in np.asarray(points, np.float32)}
    assert {point.tobytes() for point in preview.points} <= known
    assert preview.images is None


@pytest.mark.parametrize("scaling", ["standard", "robust", "none"])
def test_a_preview_of_a_table_has_statistics_in_the_original_unit(tmp_path: Path, scaling: str) -> None:
    rows = np.random.default_rng(1).normal([5.0, -200.0, 0.001], [1.0, 30.0, 1e-4], (400, 3))
    path = tmp_path / "t.csv"
    np.savetxt(path, rows, delimiter=",", header="mass,charge,length", comments="")
    config = TableConfig(path=str(path), scaling=scaling)  # type: ignore[arg-type]
    preview = preview_dataset(config)
    assert [column.name for column in preview.columns] == ["mass", "charge", "length"]
    order = np.random.default_rng(config.split_seed).permutation(400)
    train = rows[order[120:]]
    for number, column in enumerate(preview.columns):
        found = [column.low, column.mean, column.deviation, column.high]
        values = train[:, number]
        assert found == pytest.approx([values.min(), values.mean(), values.std(), values.max()], rel=1e-4)
    assert preview.points is None


def test_a_preview_counts_missing_values(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(400, 3))
    rows[5:12, 1] = rows[11, 2] = np.nan
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header="a,b,c", comments="")
    for what in ("drop", "median"):
        preview = preview_dataset(TableConfig(path=str(tmp_path / "t.csv"), columns=("c", "b"), missing=what))  # type: ignore[arg-type]
        assert [(column.name, column.missing) for column in preview.columns] == [("c", 1), ("b", 7)]
    whole = preview_dataset(TableConfig(path=str(tmp_path / "t.csv"), columns=("a",)))
    assert [column.missing for column in whole.columns] == [0]


def test_a_problem_of_the_data_names_its_field(tmp_path: Path) -> None:
    preview = preview_dataset(TableConfig(path=str(tmp_path / "none.csv")))
    assert [problem.path for problem in preview.problems] == ["data.path"]
    assert not preview.may_fetch
    assert preview.summary == ""


# --- downloads --------------------------------------------------------------------------------------------------------


def test_missing_files_are_offered_and_downloaded_with_progress(site: Site) -> None:
    async def scenario(watched: Watched) -> None:
        answer = watched.engine.answer
        before = await answer(ask.PreviewData(config=MNIST))
        assert isinstance(before, ask.DataPreview)
        size = len(array_file())
        assert (before.may_fetch, before.size) == (True, size)
        assert "download it" in before.problems[0].message
        assert site.address in before.by_hand
        config = digits().replace(data={"kind": "mnist"})
        described = await answer(Describe(config=config.to_toml()))
        assert isinstance(described, Description)
        assert [problem.path for problem in described.problems] == ["data.kind"]
        assert site.asked == []  # neither request downloads anything

        assert isinstance(await answer(ask.FetchData(config=MNIST)), Done)
        progress = [event for event in watched.seen if isinstance(event, DataProgress)]
        assert {event.data for event in progress} == {"mnist"}
        assert (progress[-1].done, progress[-1].total) == (size, size)

        after = await answer(ask.PreviewData(config=MNIST))
        assert isinstance(after, ask.DataPreview)
        assert after.counts == [100, 100, 100]
        described = await answer(Describe(config=config.to_toml()))
        assert isinstance(described, Description)
        assert described.problems == []
        await answer(ask.FetchData(config=MNIST))
        assert len(site.asked) == 1

    run_engine(scenario)


def test_a_failed_download_is_refused_with_the_reason(site: Site) -> None:
    site.files.clear()

    async def scenario(watched: Watched) -> None:
        with pytest.raises(Refused) as caught:
            await watched.engine.answer(ask.FetchData(config=MNIST))
        assert caught.value.error.title == "MNIST was not downloaded"
        assert "404" in caught.value.error.cause
        assert site.address in caught.value.error.cause

    run_engine(scenario)


def test_a_download_can_be_cancelled_while_the_engine_answers_other_requests(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    del site
    monkeypatch.setitem(SOURCES, "mnist", Endless())

    async def scenario(watched: Watched) -> None:
        fetching = asyncio.ensure_future(watched.engine.answer(ask.FetchData(config=MNIST)))
        await watched.until(lambda event: isinstance(event, DataProgress))
        preview = await watched.engine.answer(ask.PreviewData(config='kind = "digits"'))
        assert isinstance(preview, ask.DataPreview)
        assert preview.levels == 17
        assert not fetching.done()
        await watched.engine.answer(ask.CancelFetch(data="digits"))
        await watched.engine.answer(ask.CancelFetch(data="mnist"))
        with pytest.raises(Refused, match="cancelled"):
            await fetching

    run_engine(scenario)


def test_closing_the_engine_cancels_its_downloads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    del site
    monkeypatch.setitem(SOURCES, "mnist", Endless())
    fetching: list[asyncio.Future[Reply]] = []

    async def scenario(watched: Watched) -> None:
        fetching.append(asyncio.ensure_future(watched.engine.answer(ask.FetchData(config=MNIST))))
        await watched.until(lambda event: isinstance(event, DataProgress))
        await watched.engine.close()
        with pytest.raises(Refused, match="cancelled"):
            await fetching[0]

    run_engine(scenario)


# --- names and refusals -----------------------------------------------------------------------------------------------


def test_named_data_sets_are_listed_with_their_tables(site: Site, tmp_path: Path) -> None:
    del site
    add_dataset("mine", TwoMoonsConfig(count=500))
    (tmp_path / "datasets" / "broken.toml").write_text("kind = 7")

    async def scenario(watched: Watched) -> None:
        listed = await watched.engine.answer(ask.ListData())
        assert isinstance(listed, ask.DataList)
        broken, mine = listed.named
        assert (broken.name, broken.config) == ("broken", "")
        assert "data.kind" in broken.problem
        assert (mine.name, mine.problem) == ("mine", "")
        config = ExperimentConfig.load("two_moons").replace(data={"kind": "two_moons", "count": 500})
        assert mine.config == toml_text(config.data)

    run_engine(scenario)


@pytest.mark.parametrize("text", ["kind = ", 'kind = "mnits"', "", 'kind = "mnist"\nbits = 99'])
def test_an_invalid_data_table_is_refused_with_its_problems(text: str) -> None:
    async def scenario(watched: Watched) -> None:
        for request in (ask.PreviewData(config=text), ask.FetchData(config=text)):
            with pytest.raises(Refused) as caught:
                await watched.engine.answer(request)
            assert caught.value.problems
            assert isinstance(caught.value.__cause__, ConfigError)

    run_engine(scenario)
