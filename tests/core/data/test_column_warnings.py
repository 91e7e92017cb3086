"""Warnings before a run: columns with repeated values, and rows far from all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfkd.cli import main
from nfkd.config import ExperimentConfig
from nfkd.config.data import TableConfig
from nfkd.data.preview import preview_dataset
from nfkd.planning.describe import describe
from tests.core.tiny import moons

RNG = np.random.default_rng(8)
NORMAL = RNG.normal(size=400)


def warned(folder: Path, columns: dict[str, np.ndarray], **settings: Any) -> list[tuple[str, str]]:
    path = folder / "rows.csv"
    np.savetxt(path, np.stack(list(columns.values()), 1), delimiter=",", header=",".join(columns), comments="")
    preview = preview_dataset(TableConfig(path=str(path), **settings))
    assert not preview.problems
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    data = {"kind": "table", "path": str(path), **lists}
    description = describe(ExperimentConfig.from_dict(moons().model_dump(mode="json") | {"data": data}))
    found = [(warning.path, warning.message) for warning in preview.warnings]
    described = [(warning.path, warning.message) for warning in description.warnings]
    assert [each for each in described if each[0].startswith("data.")] == found
    return found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.repeat([0.0, 1.0], [300, 100]),
            "column n has only 2 distinct values in steps of 1 (0 in 75 % of the rows)",
        ),
        (np.tile([1.0, 2.5, 4.0, 5.5], 100), "column n has only 4 distinct values in steps of 1.5 ("),
        (np.where(np.arange(400) < 320, -1, NORMAL), "column n has a spike, the value -1 in 80 % of the rows"),
        (NORMAL.clip(None, 0.5), "column n has a spike, the value 0.5 in "),
    ],
)
def test_repeated_values_are_named_with_value_and_share(values: np.ndarray, message: str, tmp_path: Path) -> None:
    columns = {"x": NORMAL, "n": RNG.permutation(values)}
    (path, found), *rest = warned(tmp_path, columns)
    share = message.partition(" in ")[0]
    assert path == "data.dequantize"
    assert found.startswith(share)
    assert "(data.dequantize)" in found
    assert "(data.context)" in found
    assert not rest
    assert warned(tmp_path, columns, dequantize=("n",)) == []
    assert warned(tmp_path, columns, dequantize=("auto",)) == []


def test_smooth_columns_give_no_warning(tmp_path: Path) -> None:
    columns = {"normal": NORMAL, "skewed": RNG.exponential(size=400), "decimals": np.round(RNG.normal(size=400), 4)}
    assert warned(tmp_path, columns) == []


def test_many_columns_give_one_warning(tmp_path: Path) -> None:
    columns = {f"flag{number}": RNG.integers(0, 2, 400) for number in range(30)}
    ((_, message),) = warned(tmp_path, columns)
    assert message.startswith("30 columns have repeated values (flag0, flag1")
    assert '["auto"]' in message
    assert len(message) < 500


def test_rows_far_from_the_others_are_counted_by_column(tmp_path: Path) -> None:
    wild = NORMAL.copy()
    wild[:20] = 1e9
    ((path, message),) = warned(tmp_path, {"x": RNG.permutation(wild), "y": NORMAL})
    assert path == "data.scaling"
    assert "values of x (" in message
    assert 'data.scaling = "quantile"' in message
    assert warned(tmp_path, {"x": wild, "y": NORMAL}, scaling="quantile") == []
    for scaling in ("robust", "none"):
        assert len(warned(tmp_path, {"x": wild, "y": NORMAL}, scaling=scaling)) == 1


def test_the_terminal_shows_the_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text(
        "x,n\n" + "".join(f"{value},{index % 3}\n" for index, value in enumerate(NORMAL))
    )
    assert main(["data", "show", str(tmp_path / "rows.csv")]) == 0
    assert "warning: data.dequantize: column n has only 3 distinct values" in capsys.readouterr().out
