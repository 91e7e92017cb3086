"""A process in training keeps the memory that it has freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
from concurrent.futures import ThreadPoolExecutor
from nfkd.training.freed_memory import keep_freed_memory

keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(48 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with ThreadPoolExecutor(1) as thread:
    print(faults(), faults(), thread.submit(faults).result())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_memory_that_was_freed_is_used_again_without_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    first, again, in_thread = map(int, done.stdout.split())
    assert first > 10 * again
    assert first > 10 * in_thread  # the engine trains in a thread
