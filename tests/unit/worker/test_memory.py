"""What stays is taken out of the garbage collector's sight, once."""

import gc
import linecache

import pytest

from deployments.in_process import memory
from kontor.resilience.garbage import set_aside_what_stays


def test_what_stays_is_set_aside_once_some_time_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what comes later is collected as often as it must be, not when it is a quarter of everything."""
    now = [100.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    before = gc.get_freeze_count()
    settling = memory.MemoryKeeper()
    try:
        settling.look()
        assert gc.get_freeze_count() == before
        now[0] += memory.SETTLED_SECONDS
        settling.look()
        frozen = gc.get_freeze_count()
        assert frozen > before
        kept = [[] for _ in range(100)]
        now[0] += memory.SETTLED_SECONDS
        settling.look()
        assert gc.get_freeze_count() <= frozen
        assert len(kept) == 100
    finally:
        gc.unfreeze()


def collections_during_growth() -> int:
    """How often the oldest generation is collected while a hundred thousand objects are added."""
    before = gc.get_stats()[2]["collections"]
    added = [[number] for number in range(100_000)]
    assert len(added) == 100_000
    return gc.get_stats()[2]["collections"] - before


def test_garbage_is_collected_before_it_is_a_quarter_of_everything() -> None:
    """What is set aside no longer counts, from the first collection on."""
    stays = [[number] for number in range(600_000)]
    gc.collect()
    assert collections_during_growth() == 0
    try:
        set_aside_what_stays()
        assert collections_during_growth() > 0
    finally:
        gc.unfreeze()
    assert len(stays) == 600_000


def test_the_sources_that_tracebacks_have_shown_are_forgotten_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of a slow loop alone held 60,000 lines of ccxt and Prefect, 7 MB, and Python forgets none by itself."""
    now = [100.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(memory, "SETTLED_SECONDS", float("inf"))
    keeper = memory.MemoryKeeper()
    for _ in range(2):
        assert linecache.getline(memory.__file__, 1)
        keeper.look()
        assert memory.__file__ in linecache.cache
        now[0] += memory.FORGET_SECONDS
        keeper.look()
        assert memory.__file__ not in linecache.cache
