"""Nothing is left behind: sockets and file handles after many reconnects, tasks after a stop."""

import asyncio
from pathlib import Path

from kontor.paper.faults import FaultKind
from kontor.streams.account import AccountStreamer
from kontor.streams.market import MarketStreamer
from tests.support.streaming import StreamingDesk, streaming_desk


def handles() -> int:
    """Open file descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_no_resource_leaks_of_websocket_connections_and_file_handles(desk: StreamingDesk) -> None:
    """Testing requirement 2 of the best-practices document: ten losses later there are as many handles as before."""
    async with desk.running(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers", "candles", "trades"))
        before, tasks = handles(), len(asyncio.all_tasks())
        for number in range(10):
            # The backoff between losses is another test's matter.
            desk.gate._addresses.clear()
            desk.befall(FaultKind.WS_DROP, "/ws/v5/public", times=1)

            async def is_back(count: int = number + 1) -> bool:
                return desk.streams.breaks >= count and desk.streams.is_live("tickers")

            await desk.until(is_back)
        await desk.until(lambda: desk.is_fresh("tickers", "candles", "trades"))
        assert abs(handles() - before) <= 1
        assert abs(len(asyncio.all_tasks()) - tasks) <= 4


async def test_a_stop_leaves_no_socket_and_no_task(desk: StreamingDesk) -> None:
    """Whatever it was doing: connected, or waiting at the gate for a venue that is away."""
    for is_away in (False, True):
        before, tasks = handles(), asyncio.all_tasks()
        if is_away:
            desk.befall(FaultKind.HTTP_503, "/ws/*", probability=1.0)
        async with (
            streaming_desk(desk.paper, desk.config) as other,
            other.running(MarketStreamer),
            other.running(AccountStreamer),
        ):
            if is_away:
                await other.until(lambda other=other: _waits(other))
            else:
                await other.until(lambda other=other: other.is_fresh("tickers"))
            assert handles() > before
        for _ in range(100):
            if handles() == before and asyncio.all_tasks() <= tasks:
                break
            await asyncio.sleep(0.02)
        assert handles() == before
        # The venue's own tasks for closed sockets end a moment later.
        left = {task for task in asyncio.all_tasks() - tasks if "paper" not in str(task.get_coro()).lower()}
        assert not [task for task in left if "kontor" in repr(task.get_coro()) or "ccxt" in repr(task.get_coro())]


async def _waits(desk: StreamingDesk) -> bool:
    return bool(desk.streams.events.opening) and not desk.streams.is_live("tickers")
