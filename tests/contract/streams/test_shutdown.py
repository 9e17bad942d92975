"""The end of a desk's long-running work: nothing goes on behind its back, and nothing it was at is forgotten."""

import asyncio
from decimal import Decimal

from kontor.config import OrderSettings
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.execution.executor import Executor
from kontor.paper.faults import FaultKind
from kontor.streams.account import AccountStreamer
from kontor.streams.market import MarketStreamer
from tests.support.streaming import ACCOUNT, StreamingDesk


async def test_all_tasks_are_properly_canceled_on_shutdown(desk: StreamingDesk) -> None:
    """Testing requirement 1 of the best-practices document: streams and executor, in the middle of an order."""
    before = set(asyncio.all_tasks())
    settings = OrderSettings(request_timeout_seconds=5, good_for_seconds=60)
    executor = Executor(ACCOUNT, desk.store, desk.exchange, desk.clock, settings, "test")
    work = [
        asyncio.create_task(each, name=name)
        for name, each in (
            ("stream-market", MarketStreamer(desk.parts).run()),
            ("stream-account", AccountStreamer(desk.parts).run()),
            ("execute-orders", executor.run()),
        )
    ]
    await desk.until(lambda: desk.is_fresh("tickers", "candles", "trades", "orders", "fills", "positions", "balance"))
    desk.befall(FaultKind.HANG, "/api/v5/trade/*", method="POST", probability=1.0)
    order = Order("shut1", ACCOUNT, "BTC/USD", Side.BUY, OrderType.MARKET, Decimal("0.01"), desk.clock.now())
    await desk.store.orders.enqueue([order], "test")

    async def is_on_its_way() -> bool:
        found = await desk.store.orders.get("shut1")
        return found is not None and found.state is OrderState.SUBMITTED

    await desk.until(is_on_its_way)
    for task in work:
        task.cancel()
    async with asyncio.timeout(10):
        ended = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
    # Whether the venue has it is not known: whoever comes next has to look it up.
    assert await is_on_its_way()
    assert not await desk.is_fresh("tickers")
    await desk.streams.close()

    def left() -> list[str]:
        names = (repr(task.get_coro()) for task in asyncio.all_tasks() - before)
        return [name for name in names if "kontor/paper" not in name and "aiohttp" not in name]

    async def nobody_is_left() -> bool:
        return not [name for name in left() if "kontor" in name or "ccxt" in name or "Streamer" in name]

    await desk.until(nobody_is_left, seconds=10)
