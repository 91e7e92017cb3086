"""Names of directories: readable, short, valid on all systems, unique."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nfkd.sweeps.naming import run_names
from nfkd.text import name_problem

_VALUES = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
)  # fmt: skip
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


@given(st.lists(st.dictionaries(st.sampled_from(["student.hidden", "teacher.hidden", "a"]), _VALUES), max_size=8))
def test_names_are_valid_and_unique(combinations: list[dict[str, Any]]) -> None:
    names = run_names(combinations, ["run", "hidden-1"])
    assert len({name.casefold() for name in [*names, "run", "hidden-1"]}) == len(combinations) + 2
    for name in names:
        assert name_problem(name) == ""
        assert len(name) <= 64
        assert name.isascii()
        assert not name.endswith((".", " "))
        assert name.partition(".")[0].lower() not in _RESERVED


def test_names_show_the_values_that_differ() -> None:
    combinations = [{"student.hidden": hidden, "teacher.hidden": 9, "seeds.first": 1} for hidden in (8, 16)]
    assert run_names(combinations) == ["hidden-8", "hidden-16"]
    both = [{"student.hidden": 8, "teacher.hidden": 9}, {"student.hidden": 16, "teacher.hidden": 10}]
    assert run_names(both) == ["student.hidden-8_teacher.hidden-9", "student.hidden-16_teacher.hidden-10"]
    assert run_names([{"training.teacher_weights": "/a/b c.safetensors"}]) == ["teacher_weights-b-c"]
