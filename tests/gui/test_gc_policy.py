"""When garbage is collected."""

from __future__ import annotations

import gc

import pytest

from nfkd_gui.gc_policy import freeze_existing_objects, gc_paused


def test_nothing_is_collected_meanwhile_and_all_as_before_afterwards() -> None:
    def fail() -> None:
        raise RuntimeError

    assert gc.isenabled()
    with gc_paused():
        assert not gc.isenabled()
        with gc_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(RuntimeError), gc_paused():
        fail()
    assert gc.isenabled()


def test_what_is_there_is_spared() -> None:
    ring: list[object] = []
    ring.append(ring)
    before = gc.get_freeze_count()
    try:
        freeze_existing_objects()
        assert gc.get_freeze_count() > before
        assert not any(item is ring for item in gc.get_objects())
    finally:
        gc.unfreeze()
