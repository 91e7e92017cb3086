"""The command line of ``python -m tests.torture``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.torture import processes, tables
from tests.torture.disks import run_disks
from tests.torture.files import run_files
from tests.torture.kills import run_kills
from tests.torture.laboratory import Laboratory

PARTS = ("kills", "disks", "files")
KILLS, DISKS = 200, 20
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main() -> int:
    """Perform the cases without a result and print the tables; return 0 if all went well, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Kill runs, fill disks and try hostile files; finished cases are not repeated.",
    )
    parser.add_argument("--only", choices=PARTS, help="one part (default: all)")
    parser.add_argument("--kills", type=int, default=KILLS, help="number of SIGKILLs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="parallel cases, one core each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=Path("build/torture"), help="default: %(default)s")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the results")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/reliability.md")
    options = parser.parse_args()
    parts = [options.only] if options.only else list(PARTS)
    laboratory = Laboratory(options.results.absolute())
    if not options.tables:
        processes.preload()
        if "kills" in parts:
            run_kills(laboratory, options.kills, options.seed, options.jobs)
        if "disks" in parts:
            run_disks(laboratory, DISKS, options.jobs)
        if "files" in parts:
            run_files(laboratory, options.jobs)
    made = {part: tables.MAKERS[part](laboratory) for part in parts}
    for table in made.values():
        print(f"\n{table.text}")
    if options.write:
        tables.write(DOCUMENT, {part: table.text for part, table in made.items()})
    return int(any(table.problems for table in made.values()))
