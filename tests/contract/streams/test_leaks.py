"""Nothing is left behind: sockets and file handles after many reconnects, tasks after a stop."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kontor.paper.faults import FaultKind
from kontor.resilience.circuit_breaker import BreakerState
from kontor.streams.account import AccountStreamer
from kontor.streams.market import MarketStreamer
from tests.support.streaming import StreamingDesk, closed_port, streaming_desk


def handles() -> int:
    """Open file descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_no_resource_leaks_of_websocket_connections_and_file_handles(desk: StreamingDesk) -> None:
    """Testing requirement 2 of the best-practices document: ten losses later there are as many handles as before."""
    async with desk.streaming(MarketStreamer):
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

        async def nothing_is_left() -> bool:
            # The venue's own tasks for lost sockets end a moment later.
            return abs(handles() - before) <= 1 and len(asyncio.all_tasks()) <= tasks + 4

        await desk.until(nothing_is_left)


async def test_what_is_kept_of_a_market_is_bounded(desk: StreamingDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of 200 busy markets must not fill the memory of the worker they are streamed to."""
    monkeypatch.setattr("kontor.exchange.market_streams.KEPT_TRADES", 5)
    monkeypatch.setattr("kontor.exchange.market_streams.KEPT_CANDLES", 3)
    async with desk.streaming(MarketStreamer):
        client = desk.streams.connection.client
        for cache, most in ((lambda: client.trades, 5), (lambda: _by_symbol(client.ohlcvs), 3)):

            async def is_there(cache: Callable[[], dict[str, Any]] = cache) -> bool:
                return bool(cache())

            await desk.until(is_there)
            assert {found.max_size for found in cache().values()} == {most}


def _by_symbol(ohlcvs: dict[str, Any]) -> dict[str, Any]:
    return {symbol: rows for symbol, kept in ohlcvs.items() for rows in kept.values()}


async def test_a_stop_leaves_no_socket_and_no_task(desk: StreamingDesk) -> None:
    """Whatever it was doing: connected, or waiting at the gate for a venue that is away."""
    for is_away in (False, True):
        before, tasks = handles(), asyncio.all_tasks()
        if is_away:
            desk.befall(FaultKind.HTTP_503, "/ws/*", probability=1.0)
        async with (
            streaming_desk(desk.paper, desk.config) as other,
            other.streaming(MarketStreamer),
            other.streaming(AccountStreamer),
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


async def test_a_closed_port_costs_none_of_the_connections_a_venue_allows(desk: StreamingDesk) -> None:
    """What is refused before it reaches the venue counts for nothing there: the budget is whole when it is back."""
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers", "candles"))
        before, left = desk.connections(), desk.gate.budget.left
        async with closed_port(desk.paper):
            await desk.until(lambda: _is_refused(desk))
            # The three tries at once are over, and the next ones too.
            await asyncio.sleep(3)
            assert desk.connections() == before
            assert desk.gate.budget.left == left
            assert not await desk.is_fresh("tickers")
        assert await desk.until(lambda: desk.is_fresh("tickers", "candles")) < 5
        assert left - desk.gate.budget.left == desk.connections() - before
        assert all(breaker.state is BreakerState.CLOSED for breaker in desk.gate.breakers)


async def _is_refused(desk: StreamingDesk) -> bool:
    """Both addresses are known to be away, and the reason says how."""
    states = [breaker.status for breaker in desk.gate.breakers]
    return any(state.state is BreakerState.OPEN and "Cannot connect to host" in state.reason for state in states)
