"""Work beside a reader, which must go on hearing: at most a few things at once, none outlives its owner."""

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class Aside:
    """Runs coroutines in the background of one owner; what one fails with is logged, and kept from the others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[object, object, object]) -> None:
        """Begin it now."""
        task = asyncio.create_task(self._see_through(work), name=f"{self._name} aside")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what is still under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _see_through(self, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except Exception:
            logger.exception("aside_failed name=%s", self._name)
