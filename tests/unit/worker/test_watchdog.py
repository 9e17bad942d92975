"""The thread that notices when the event loop stands still."""

import asyncio
import linecache
import threading
import time
from datetime import timedelta

from deployments.in_process.watchdog import Blocked, LoopWatchdog


async def test_a_loop_that_stands_still_is_told_with_the_place_and_no_source_is_read() -> None:
    """The place is what one looks for; lines of source would be kept for good, whole files of them."""
    seen: list[Blocked] = []
    is_told = threading.Event()

    def tell(blocked: Blocked) -> None:
        seen.append(blocked)
        is_told.set()

    dog = LoopWatchdog(timedelta(milliseconds=20), report=tell)
    dog.start()
    linecache.clearcache()
    try:
        stand_still(is_told)
    finally:
        dog.stop()
    assert "in stand_still" in seen[0].stack
    assert seen[0].stack.index("in test_a_loop") < seen[0].stack.index("in stand_still")
    assert seen[0].seconds >= 0.02
    assert not any(len(entry) > 1 for entry in linecache.cache.values())
    await asyncio.sleep(0)


def stand_still(until: threading.Event) -> None:
    """Keep the loop from turning until somebody has noticed."""
    ends_at = time.monotonic() + 30
    while not until.is_set() and time.monotonic() < ends_at:
        time.sleep(0.005)
