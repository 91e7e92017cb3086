"""When garbage is collected."""

from __future__ import annotations

import gc

import pytest

from nfkd_gui.gc_policy import collected_later, spare_what_is_there


def test_nothing_is_collected_meanwhile_and_all_as_before_afterwards() -> None:
    def fail() -> None:
        raise RuntimeError

    assert gc.isenabled()
    with collected_later():
        assert not gc.isenabled()
        with collected_later():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(RuntimeError), collected_later():
        fail()
    assert gc.isenabled()


def test_what_is_there_is_spared() -> None:
    ring: list[object] = []
    ring.append(ring)
    before = gc.get_freeze_count()
    try:
        spare_what_is_there()
        assert gc.get_freeze_count() > before
        assert not any(item is ring for item in gc.get_objects())
    finally:
        gc.unfreeze()
