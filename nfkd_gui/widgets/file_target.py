"""A widget that takes a file dropped on it, before the window uses the file."""

from __future__ import annotations

from collections.abc import Sequence


class FileTarget:
    """Mixed into a widget that accepts drops and handles their events itself."""

    def takes(self, paths: Sequence[str]) -> bool:
        """Return whether dragged files, given by their paths, are one that fits this widget."""
        raise NotImplementedError
