"""What the flags of samples say as text."""

from __future__ import annotations

import numpy as np
import pytest

from nfkd.protocol.flags import NOT_FINITE, OUT_OF_RANGE, USABLE, describe_flag, describe_flags


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([USABLE, USABLE], ""),
        ([], ""),
        ([NOT_FINITE, USABLE], "1 of 2 samples not finite"),
        ([OUT_OF_RANGE] * 3, "3 of 3 samples far outside the range of the data"),
        ([OUT_OF_RANGE, NOT_FINITE, NOT_FINITE], "2 of 3 samples not finite, 1 far outside the range of the data"),
        ([[NOT_FINITE, USABLE], [USABLE, USABLE]], "1 of 4 samples not finite"),
        ([NOT_FINITE] * 1200, "1,200 of 1,200 samples not finite"),
    ],
)
def test_a_caption_counts_what_cannot_be_shown(flags: list[int], expected: str) -> None:
    assert describe_flags(np.array(flags, np.uint8)) == expected


def test_a_cell_says_what_is_wrong_with_it() -> None:
    assert [describe_flag(flag) for flag in (USABLE, NOT_FINITE, OUT_OF_RANGE)] == [
        "",
        "not finite",
        "far outside the range of the data",
    ]
