"""The worker's standing chores: done over and over, whatever one pass of them runs into."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from prefect.logging import get_logger

from deployments.in_process.client import is_outage, without_client_retries

logger = get_logger("worker.in_process")

#: Seconds after a lost connection at which the API is asked again, however rarely it is asked otherwise.
RETRY_AFTER = 1.0
#: Seconds between a wish for a pass and the pass, so that a burst of wishes is one pass.
GATHER = 0.1


async def repeat(
    name: str, work: Callable[[], Awaitable[Any]], seconds: float, wake: asyncio.Event | None = None
) -> None:
    """Do the work on a fixed interval, and when woken; an API that is away is asked again soon, for ever."""
    away = False
    wake = wake or asyncio.Event()
    while True:
        pause = seconds
        try:
            with without_client_retries():
                await work()
            if away:
                logger.warning("event=api-back chore=%s", name)
            away = False
        except Exception as error:
            if not is_outage(error):
                logger.exception("event=chore-failed chore=%s", name)
            elif not away:
                logger.warning("event=api-away chore=%s error=%r", name, error)
            away, pause = is_outage(error), min(seconds, RETRY_AFTER)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wake.wait()
                wake.clear()
                await asyncio.sleep(GATHER)


@contextlib.asynccontextmanager
async def background(*work: Any) -> AsyncIterator[None]:
    """The given coroutines at work while the block runs."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
