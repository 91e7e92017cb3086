"""A process in training keeps the memory that it has freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
from nfkd.training.freed_memory import keep_freed_memory

keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(48 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_memory_that_was_freed_is_used_again_without_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    first, again = map(int, done.stdout.split())
    assert first > 10 * again
