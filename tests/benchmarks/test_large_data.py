"""Tables of 10⁷ rows and a folder of many images: times and memory on disk and, where it fits, in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import psutil
import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
ROWS = int(os.environ.get("NFKD_BENCH_ROWS", "10000000"))
FILES = int(os.environ.get("NFKD_BENCH_FILES", "100000"))
WIDTH, BLOCK = 8, 500_000
_SPACE = 6 << 30  # bytes


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    if shutil.disk_usage(tmp_path).free < _SPACE:
        pytest.skip(f"needs {_SPACE >> 30} GiB on {tmp_path}")
    yield tmp_path
    shutil.rmtree(tmp_path)


def measured(data: dict[str, Any], cache: Path, steps: int = 200) -> dict[str, Any]:
    """Return what a process of its own measures."""
    environment = os.environ | {"NFKD_DATA": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.benchmarks.large_data", json.dumps(data), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def blocks() -> Iterator[pl.DataFrame]:
    rng = np.random.default_rng(0)
    for _ in range(0, ROWS, BLOCK):
        values = rng.normal(size=(BLOCK, WIDTH)) * np.arange(1, WIDTH + 1)
        yield pl.DataFrame(values, schema=[f"c{index}" for index in range(WIDTH)])


def write(path: Path) -> None:
    match path.suffix:
        case ".csv":
            with path.open("wb") as file:
                for number, block in enumerate(blocks()):
                    block.write_csv(file, include_header=number == 0)
        case ".parquet":
            pl.concat(blocks()).write_parquet(path)
        case ".h5":
            with h5py.File(path, "w") as file:
                array = file.create_dataset("rows", (ROWS, WIDTH), "f8", chunks=(1 << 14, WIDTH))
                for number, block in enumerate(blocks()):
                    array[number * BLOCK : (number + 1) * BLOCK] = block.to_numpy()
        case _:
            array = np.lib.format.open_memmap(path, "w+", np.float64, (ROWS, WIDTH))
            for number, block in enumerate(blocks()):
                array[number * BLOCK : (number + 1) * BLOCK] = block.to_numpy()
            array.flush()


def report(title: str, figures: dict[str, Any]) -> None:
    if "failed" in figures:
        print(f"{title}: {figures['failed']}")
        return
    above = figures["above_mib"]
    print(
        f"{title}: load {figures['load_s']:.1f} s, first batch after {figures['first_batch_s']:.1f} s (CPU "
        f"{figures['first_batch_cpu_s']:.1f} s), fingerprint {figures['fingerprint_s']:.1f} s; "
        f"step {figures['step_ms']:.1f} ms, of which waiting for the reader {figures['wait_ms']:.2f} ms "
        f"({100 * figures['share']:.1f} %); peak above imports: anonymous {above['RssAnon']:,} MiB, "
        f"files {above['RssFile']:,} MiB, all {above['VmHWM']:,} MiB",
        flush=True,
    )


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "npy"])
def test_a_table_of_ten_million_rows(folder: Path, ending: str) -> None:
    path = folder / f"t.{ending}"
    start = time.perf_counter()
    write(path)
    size, seconds, busy = path.stat().st_size / 1e6, time.perf_counter() - start, psutil.getloadavg()[0]
    print(f"\n{ROWS:,} × {WIDTH} as .{ending}: {size:,.0f} MB, written in {seconds:.0f} s, load {busy:.1f}")
    for title, storage in (("on disk, no index", "disk"), ("on disk, with index", "disk"), ("in memory", "memory")):
        report(title, measured({"kind": "table", "path": str(path), "storage": storage}, folder / "cache"))


def test_a_folder_of_many_images(folder: Path) -> None:
    from PIL import Image

    start, pictures, below = time.perf_counter(), folder / "pictures", folder
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (64, 32, 32, 3), np.uint8)
    for number in range(FILES):
        if number % 10_000 == 0:
            below = pictures / f"{number // 10_000:03}"
            below.mkdir(parents=True)
        Image.fromarray(np.roll(base[number % 64], number // 64, axis=0)).save(below / f"{number:07}.png")
    seconds, busy = time.perf_counter() - start, psutil.getloadavg()[0]
    print(f"\n{FILES:,} images of 32×32 pixels, written in {seconds:.0f} s, load {busy:.1f}")
    data = {"kind": "image_folder", "path": str(pictures), "size": 32}
    for title, storage in (("on disk, first epoch", "disk"), ("on disk, again", "disk"), ("not kept", "memory")):
        report(title, measured(data | {"storage": storage}, folder / "cache", steps=60))
