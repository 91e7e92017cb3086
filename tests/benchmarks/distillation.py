"""Compares students that learn from a teacher with the same students without one, on real data.

``make bench-distillation`` trains the runs that are not in the cache (``build/distillation``) and prints the tables: of
single terms of the loss (`terms`), of whole recipes (`recipes`), and of students of a TarFlow (`tarflow_students`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from tests.benchmarks import recipes, tarflow_students, terms
from tests.benchmarks.costs import measure_costs
from tests.benchmarks.studies import train_all
from tests.benchmarks.throughput import ratios

MODULES = (recipes, tarflow_students, terms)
TABLES = {study.name: (study, module.table) for module in MODULES for study in module.STUDIES}


def main() -> None:
    """Train the missing runs and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("studies", nargs="*", help=f"of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--cache", type=Path, default=Path("build/distillation"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at the same time, one thread each")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the cache")
    options = parser.parse_args()
    unknown = [name for name in options.studies if name not in TABLES]
    if unknown:
        parser.error(f"no study {unknown[0]!r}: there are {', '.join(TABLES)}")
    names, cache = options.studies or list(TABLES), options.cache.absolute()
    if not options.tables:
        studies = [TABLES[name][0] for name in names]
        train_all(studies, cache, options.jobs)
        chosen = [study for study in studies if study in recipes.STUDIES]
        measure_costs(chosen, cache)  # alone on the machine, so that times can be compared
        train_all([recipes.with_equal_time(study, cache) for study in chosen], cache, options.jobs)
    torch.set_num_threads(1)
    for name in names:
        study, table = TABLES[name]
        print("\n".join(table(study, cache)))
    if not options.studies:
        print("\n**Throughput**\n")
        for line in ratios():
            print(line, flush=True)


if __name__ == "__main__":
    main()
