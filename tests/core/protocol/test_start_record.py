"""The record of how a run was started: stored with its row, and shown without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from nfkd.cli import main
from nfkd.protocol.queue import public_address
from nfkd.protocol.run_rows import StartRecord
from nfkd.runs.state import STATE, read_row, write_row
from nfkd.training.api import prepare
from tests.core.tiny import moons

RAY = StartRecord(how="ray", machines=["box"], address="host:6379", cpus=2.0, gpus=0.5, attempt=2)


def test_the_record_is_stored_with_the_row_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = prepare(moons(), tmp_path / "run")
    assert json.loads((run / STATE).read_text())["row"]["start"] is None
    row = msgspec.structs.replace(read_row(run), start=RAY)
    write_row(run, row)
    assert json.loads((run / STATE).read_text())["row"]["start"] == msgspec.to_builtins(RAY)
    assert msgspec.to_builtins(read_row(run).start) == msgspec.to_builtins(RAY)
    assert main(["show", str(run)]) == 0
    assert f"Trained by: {RAY.describe()}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (RAY, "1 process on box, started by Ray at host:6379 (2 CPU, 0.5 GPU), attempt 2"),
        (
            StartRecord(how="torchrun", world_size=4, backend="nccl", machines=["a", "b"]),
            "4 processes (nccl) on a, b, started by torchrun",
        ),
        (StartRecord(how="nfkd", world_size=2, backend="gloo"), "2 processes (gloo), started by NFKD"),
    ],
)
def test_the_record_in_words(record: StartRecord, text: str) -> None:
    assert record.describe() == text


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("ray://me:secret@host:10001", "ray://host:10001"),
        ("ray://host:10001?token=secret", "ray://host:10001"),
        ("me:secret@host:6379", "host:6379"),
        ("auto", "auto"),
    ],
)
def test_an_address_is_shown_without_secrets(address: str, public: str) -> None:
    assert public_address(address) == public
