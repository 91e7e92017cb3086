"""Numbers as text: counts, bytes, durations and measured values."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from nfkd.text import format_number

_KILO = 1000
_BYTES = 1024
_DAY = 24 * 3600
_SMALL, _LARGE = 1e-3, 1e7
"""Values beyond these have an exponent."""


def format_count(value: float) -> str:
    """Return a count with three digits: 12,345 → ``12.3 k``, 17,000 → ``17.0 k``."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(value) < _KILO:
            return f"{value:.0f}{unit}" if unit == "" or abs(value) >= _KILO / 10 else f"{_digits(value, 3)}{unit}"
        value /= _KILO
    return f"{value:.3g} P"


def _digits(value: float, digits: int) -> str:
    """Return a number with so many significant digits, of which zeros at the end are some."""
    return f"{value:#.{digits}g}".rstrip(".")


def format_bytes(value: float) -> str:
    """Return bytes with a binary unit: 1,572,864 → ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < _BYTES:
            return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= _KILO / 10 else f"{_digits(value, 2)} {unit}"
        value /= _BYTES
    return f"{value:.3g} PiB"


def format_duration(seconds: float) -> str:
    """Return a time as ``0:42`` or ``1:02:03``; empty if it is negative or not finite."""
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_time(created: float, now: float) -> str:
    """Return the time of day within the last 24 hours, else the date; empty if `created` is no valid time."""
    form = "%H:%M" if 0 <= now - created < _DAY else "%Y-%m-%d"
    try:
        return time.strftime(form, time.localtime(created))
    except (OverflowError, OSError, ValueError):
        return ""


def format_measure(value: float | None, digits: int = 3) -> str:
    """Return a measured value, from a million on with an exponent, or a dash for None and values not finite."""
    return "–" if value is None or not math.isfinite(value) else format_number(value, f".{digits}f").replace("-", "−")


def format_percent(value: float) -> str:
    """Return a share as whole percent: 0.706 → ``71 %``."""
    return f"{100 * value:.0f} %".replace("-", "−")


def format_together(values: Sequence[float], digits: int = 4) -> list[str]:
    """Return values with equal decimals, those that give the largest of them so many significant digits."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest and not _SMALL <= largest < _LARGE:
        return [f"{value:.{digits}g}".replace("-", "−") for value in values]
    decimals = max(0, digits - 1 - math.floor(math.log10(largest))) if largest else 0
    return [format_measure(value, decimals) for value in values]
