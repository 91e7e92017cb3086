"""When Python collects garbage."""

from __future__ import annotations

import gc

import pytest

from nfkd_gui.gc_policy import CollectionPause, LoadingPause, freeze_existing_objects, gc_paused


def test_gc_paused_restores_the_previous_state() -> None:
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


def test_frozen_objects_are_not_searched() -> None:
    ring: list[object] = []
    ring.append(ring)
    freeze_existing_objects()
    assert not any(item is ring for item in gc.get_objects())


def test_collection_is_off_while_any_worker_runs() -> None:
    pause = CollectionPause()
    pause.enter()
    pause.enter()
    pause.leave()
    assert not gc.isenabled()
    pause.leave()
    assert gc.isenabled()
    with gc_paused():
        pause.enter()
        pause.leave()
        assert not gc.isenabled(), "it was off before"


def test_what_was_loaded_in_a_pause_is_not_searched() -> None:
    loading, ring = LoadingPause(), list[object]()
    ring.append(ring)
    loading.end()
    assert any(item is ring for item in gc.get_objects()), "nothing was loaded"
    loading.begin()
    loading.begin()
    assert not gc.isenabled()
    loading.end()
    assert gc.isenabled()
    assert not any(item is ring for item in gc.get_objects())
