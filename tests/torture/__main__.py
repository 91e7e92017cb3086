"""``python -m tests.torture``: killed runs, full disks and hostile files. See docs/reliability.md."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Before numpy and torch are loaded: a process that forks must have one thread.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from tests.torture.program import main

    sys.exit(main())
