"""One part of a sweep that several processes share, such as the tasks of an array job of Slurm."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nfkd.runs.lock import NAME as LOCK

_MOST = 1_000_000
_TEXT = re.compile(r"([1-9][0-9]{0,6})/([1-9][0-9]{0,6})")


@dataclass(frozen=True)
class Shard:
    """The runs whose index in the sweep leaves the rest `index` − 1 when it is divided by `count`.

    Examples
    --------
    >>> shard = Shard.parse("2/3")
    >>> [number for number in range(8) if number in shard]
    [1, 4, 7]
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read a shard such as ``3/100``, the third of a hundred.

        Raises
        ------
        ValueError
            When the text is no shard.
        """
        found = _TEXT.fullmatch(text)
        if found is None or not int(found[1]) <= int(found[2]) <= _MOST:
            msg = f"{text!r} is no part of a sweep: give I/N with I from 1 to N, such as 3/100"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]))

    def __contains__(self, number: int) -> bool:
        return number % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def state_file(self) -> str:
        """Name of the file that has the state of its runs."""
        return f"sweep-{self.index}-of-{self.count}.json"

    @property
    def lock_file(self) -> str:
        """Name of the lock that its process holds."""
        return f"{LOCK}-{self.index}-of-{self.count}"
