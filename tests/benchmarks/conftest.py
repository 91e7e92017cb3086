"""Fixtures of the benchmarks."""

from __future__ import annotations

from tests.gui.conftest import loop

__all__ = ["loop"]
