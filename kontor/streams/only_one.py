"""One stream of a kind per account: a second one would hear the same, and write it twice."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from kontor.errors import LeaseLost, StoreError
from kontor.execution.lease import HeldLease
from kontor.ports import Clock, DeskState
from kontor.streams.streamer import Streamer

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=10)
ASK_SECONDS = 2.0


async def run_alone(state: DeskState, clock: Clock, account: str, owner: str, make: Callable[[], Streamer]) -> None:
    """Run a streamer while its lease is held, a new one after each loss; returns when it has been stopped."""
    while True:
        streamer = make()
        held = await _acquire(state, clock, f"{streamer.name}:{account}", owner)
        logger.info("stream_works name=%s account=%s owner=%s", streamer.name, account, owner)
        try:
            await _run(streamer, held)
        except* LeaseLost as lost:
            logger.warning("stream_lost_its_lease name=%s error=%s", streamer.name, lost.exceptions[0])
        else:
            return
        finally:
            await held.release()


async def _run(streamer: Streamer, held: HeldLease) -> None:
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(held.keep(), name=f"{streamer.name} lease")
        await streamer.run()
        keeping.cancel()


async def _acquire(state: DeskState, clock: Clock, name: str, owner: str) -> HeldLease:
    while True:
        try:
            held = await HeldLease.acquire(state, clock, name, owner, LEASE)
        except StoreError as error:
            logger.warning("stream_lease_not_acquired name=%s error=%s", name, error)
            held = None
        if held is not None:
            return held
        await clock.sleep(ASK_SECONDS)
