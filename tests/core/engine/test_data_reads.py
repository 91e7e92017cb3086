"""Large data that is prepared for a preview: the engine reports it, and a client may cancel it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from nfkd.config.data import TableConfig
from nfkd.config.toml import toml_text
from nfkd.data import index_cache
from nfkd.engine import data_reads
from nfkd.engine.core import Refused
from nfkd.protocol import data as ask
from nfkd.protocol.events import DataReading
from nfkd.protocol.requests import Describe, Description
from tests.core.engine.test_engine import Watched, run_engine
from tests.core.tiny import moons


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The settings of a table on disk; everything that its preparation says is reported."""
    monkeypatch.setenv("NFKD_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(data_reads, "_QUIET_SECONDS", 0)
    monkeypatch.setattr(data_reads, "_EVERY", 0)
    rows = np.random.default_rng(0).normal(size=(300, 2))
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b", comments="")
    return toml_text(TableConfig(path=str(tmp_path / "rows.csv"), storage="disk"))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.suffix for path in (folder / "cache" / "indexes").iterdir())


def test_a_long_preparation_is_reported(table: str) -> None:
    seen: list[DataReading] = []

    async def body(watched: Watched) -> None:
        preview = await watched.engine.answer(ask.PreviewData(config=table))
        assert isinstance(preview, ask.DataPreview)
        assert sum(preview.counts) == 300
        seen.extend(event for event in watched.seen if isinstance(event, DataReading))

    run_engine(body)
    assert {event.data for event in seen} == {table}
    messages = [event.message for event in seen]
    assert messages[0] == "Preparing rows.csv to be read from disk: 0 rows so far."
    assert "rows.csv is prepared: 300 rows." in messages


@pytest.mark.parametrize("describes", [False, True])
def test_a_cancelled_preparation_leaves_nothing(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, describes: bool
) -> None:
    config = moons(data={"kind": "table", "path": str(tmp_path / "rows.csv"), "storage": "disk"})
    request = Describe(config=config.to_toml()) if describes else ask.PreviewData(config=table)
    original = index_cache.RowWriter.write

    async def body(watched: Watched) -> None:
        engine, loop = watched.engine, asyncio.get_running_loop()

        def write(writer: index_cache.RowWriter, rows: np.ndarray) -> None:
            """Cancel, and wait until the engine knows it."""
            asyncio.run_coroutine_threadsafe(engine.answer(ask.CancelReading(config=table)), loop).result(20)
            original(writer, rows)

        with monkeypatch.context() as patch:
            patch.setattr(index_cache.RowWriter, "write", write)
            with pytest.raises(Refused, match="cancelled"):
                await engine.answer(request)
        assert leftovers(tmp_path) == [".lock"]
        again = await engine.answer(request)
        assert isinstance(again, Description if describes else ask.DataPreview)

    run_engine(body)
