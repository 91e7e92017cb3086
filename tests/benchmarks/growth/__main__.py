"""How costs grow: ``make bench-growth``. Prints the table; with ``--write`` also into docs/benchmarks.md, with figure."""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.growth import runs, training
from tests.benchmarks.growth.axis import Axis, Growth, exponent, upper_half

AXES = (*training.AXES, *runs.AXES)


def main() -> int:
    """Run the command; the exit status is 1 if a cost grows faster than its arithmetic."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="measure only axes whose quantity has this text")
    parser.add_argument("--write", action="store_true", help="write table and figure into docs")
    options = parser.parse_args()
    measured: list[tuple[Axis, Growth]] = []
    for axis in AXES:
        if options.only in axis.quantity:
            growth = axis.measure()
            measured.append((axis, growth))
            print(
                axis.title,
                axis.quantity,
                *(f"{s}: {1000 * t:.2f} ms" for s, t in zip(growth.sizes, growth.seconds)),
                flush=True,
            )
            part = upper_half(axis.sizes)
            print(
                "   ",
                exponent(axis.sizes[part], growth.seconds[part]),
                exponent(axis.sizes[part], [axis.arithmetic(s) for s in axis.sizes[part]]),
                exponent(axis.sizes, growth.seconds),
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
