"""What stays is taken out of the garbage collector's sight, once."""

import gc

import pytest

from deployments.in_process import memory


def test_what_stays_is_set_aside_once_some_time_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what comes later is collected as often as it must be, not when it is a quarter of everything."""
    now = [100.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    before = gc.get_freeze_count()
    settling = memory.Settling()
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
