"""What the page hears: everything once, then what changes; of the account and market that it asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import numpy as np
import pytest

from kontor.domain.fill import Fill
from kontor.domain.market import Ticker
from kontor.domain.order import Order, OrderState, OrderType, Side, advance
from kontor.store.memory import MemoryStore
from kontor.web.hub import BACKLOG, Selection, Viewer
from tests.contract.web.conftest import Browser, FakeDesk, served

BTC, ETH = "BTC/USD:USD", "ETH/USD:USD"
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = 60_000.0
D = Decimal


def order(name: str, symbol: str = BTC, account: str = "paper") -> Order:
    return Order(name, account, symbol, Side.BUY, OrderType.LIMIT, D("0.5"), NOW, price=D(49000), actor="a person")


def candles(first: float, count: int) -> np.ndarray:
    rows = np.empty((count, 6))
    rows[:, 0] = first + MINUTE * np.arange(count)
    rows[:, 1:] = (1, 3, 0.5, 2, 7)
    return rows


async def fill_store(store: MemoryStore) -> float:
    """Two markets with 600 candles; returns when the last one opened."""
    first = NOW.timestamp() * 1000 // MINUTE * MINUTE - 600 * MINUTE
    await store.market.save_watchlist("paper", [BTC, ETH], NOW)
    await store.market.save_candles("paper", "1m", {BTC: candles(first, 600), ETH: candles(first, 5)})
    await store.market.save_tickers("paper", [Ticker(BTC, D(50000), NOW)], NOW)
    for minute in range(60):
        await store.account.save_equity("paper", D(1000 + minute), NOW - timedelta(minutes=60 - minute))
    await store.account.save_equity("paper", D(7), NOW - timedelta(days=20))
    return first + 599 * MINUTE


async def test_a_new_viewer_is_told_everything_of_the_first_account_and_market(
    browser: Browser, store: MemoryStore
) -> None:
    """An address without anything opens on something to see."""
    last = await fill_store(store)
    await store.orders.enqueue([order("k1"), order("k2", ETH), order("other", account="paper-sub")], "test")
    await browser.sign_in()
    async with browser.live() as socket:
        hello = await browser.hear(socket, "hello")
        assert (hello["accounts"], hello["account"]) == (["paper", "paper-sub"], "paper")
        assert (sorted(hello["symbols"]), hello["timeframe"]) == ([BTC, ETH], "1m")
        assert hello["symbol"] == hello["symbols"][0]
        assert (await browser.hear(socket, "status"))["account"] == "paper"
        trades = await browser.hear(socket, "trades")
        assert {each["id"] for each in trades["open"]} == {"k1", "k2"}
    async with browser.live(f"account=paper&symbol={BTC}") as socket:
        chart = await browser.hear(socket, "chart")
        assert (chart["symbol"], len(chart["candles"]), chart["candles"][-1]) == (BTC, 500, [last, 1, 3, 0.5, 2, 7])
        assert chart["last"] == 50000
        markers = await browser.hear(socket, "markers")
        assert [each["id"] for each in markers["orders"]] == ["k1"]
        equity = await browser.hear(socket, "equity")
        assert (len(equity["points"]), equity["points"][-1][1]) == (60, 1059)
    async with browser.live(f"account=paper&symbol={BTC}&days=all") as socket:
        assert (await browser.hear(socket, "equity"))["points"][0][1] == 7


async def test_what_changes_is_told_as_it_happens(browser: Browser, store: MemoryStore) -> None:
    """Orders and fills with their markers, prices, candles, equity."""
    last = await fill_store(store)
    await store.orders.enqueue([order("k1")], "test")
    await browser.sign_in()
    async with browser.live(f"account=paper&symbol={BTC}") as socket:
        await browser.hear(socket, "equity")
        placed = order("k1")
        sent = advance(placed, OrderState.SUBMITTED, NOW)
        live = replace(advance(sent, OrderState.ACCEPTED, NOW), venue_order_id="v1")
        await store.orders.record([(placed, sent)], actor="t", at=NOW)
        await store.orders.record([(sent, live)], actor="t", at=NOW)
        await store.orders.save_fills("paper", [Fill("t1", BTC, Side.BUY, D("0.2"), D(48999), NOW, "v1", "k1")])

        async def is_filled() -> dict[str, Any]:
            while not (trades := await browser.hear(socket, "trades"))["fills"]:
                pass
            return trades

        trades = await is_filled()
        assert (trades["open"][0]["state"], trades["fills"][0]["price"]) == ("ACCEPTED", 48999)
        markers = await browser.hear(socket, "markers")
        assert [each["id"] for each in markers["fills"]] == ["t1"]

        await store.market.save_tickers("paper", [Ticker(BTC, D(50001), NOW)], datetime.now(UTC))
        while (await browser.hear(socket, "prices"))["last"] != 50001:
            pass
        await store.market.save_candles("paper", "1m", {BTC: candles(last + MINUTE, 1)})
        while (await browser.hear(socket, "prices"))["candles"][-1][0] != last + MINUTE:
            pass
        await store.account.save_equity("paper", D(1234), datetime.now(UTC))
        assert (await browser.hear(socket, "equity-points"))["points"][0][1] == 1234


async def test_after_a_gap_the_chart_is_sent_again(browser: Browser, store: MemoryStore) -> None:
    """A page that slept, or a desk that was down, must not draw a chart with a hole."""
    last = await fill_store(store)
    await browser.sign_in()
    async with browser.live(f"account=paper&symbol={BTC}") as socket:
        await browser.hear(socket, "equity")
        await store.market.save_candles("paper", "1m", {BTC: candles(last + MINUTE, 30)})
        chart = await browser.hear(socket, "chart")
        assert chart["candles"][-1][0] == last + 30 * MINUTE


async def test_other_accounts_are_not_mixed_in(browser: Browser, store: MemoryStore) -> None:
    """One server shows several accounts; each viewer sees the one that was chosen."""
    await fill_store(store)
    await browser.sign_in()
    async with browser.live("account=paper-sub") as socket:
        await browser.hear(socket, "equity")
        await store.orders.enqueue([order("k1")], "test")
        await store.orders.enqueue([order("k2", account="paper-sub")], "test")
        trades = await browser.hear(socket, "trades")
        assert [each["id"] for each in trades["orders"]] == ["k2"]
    async with browser.live("account=nobody") as socket:
        assert (await browser.hear(socket, "hello"))["account"] == "paper"


async def test_a_store_in_trouble_is_told_and_the_page_goes_on_when_it_is_well(
    browser: Browser, desk: FakeDesk, store: MemoryStore
) -> None:
    """A database that is locked for a moment is no reason to look at an old page unawares."""
    await fill_store(store)
    await browser.sign_in()
    async with browser.live() as socket:
        await browser.hear(socket, "equity")
        desk.trouble = "the database is locked"
        assert (await browser.hear(socket, "trouble"))["text"] == "the database is locked"
        desk.trouble = ""
        await browser.hear(socket, "status")
        desk.trouble = "locked again"
        async with browser.live() as second:
            assert (await browser.hear(second, "trouble"))["text"] == "locked again"


async def test_nobody_looking_costs_nothing(browser: Browser, desk: FakeDesk) -> None:
    """The store is read while somebody looks, and not otherwise."""
    await asyncio.sleep(0.1)
    assert desk.looks == 0
    await browser.sign_in()
    async with browser.live() as socket:
        await browser.hear(socket, "equity")
    while len(browser.page._hub):  # noqa: ASYNC110 - the hub tells nobody that nobody looks
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    seen = desk.looks
    await asyncio.sleep(0.1)
    assert desk.looks == seen


async def test_more_browsers_than_allowed_are_refused(store: MemoryStore, desk: FakeDesk) -> None:
    """Bounded like everything else."""
    async with served(store, desk, max_clients=1) as browser:
        await browser.sign_in()
        async with browser.live() as socket:
            await browser.hear(socket, "hello")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with browser.live():
                    pass
            assert refused.value.status == 503


def test_a_browser_that_takes_nothing_is_let_go() -> None:
    """Its backlog is bounded, and its last message is the end."""
    viewer = Viewer(Selection("paper", BTC, "1m"))
    for number in range(BACKLOG + 1):
        viewer.send("status", {"number": number})
    assert viewer.outbox.qsize() == 1
    assert viewer.outbox.get_nowait() is None
