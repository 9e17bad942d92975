"""The adapter on the paper exchange: what the desk reads and sends agrees with the venue's own books."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt.pro
import numpy as np
import pytest

from kontor.domain.account import PositionSide
from kontor.domain.market import MarketKind
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side, TimeInForce, apply_report
from kontor.errors import (
    AlreadyPlaced,
    AuthenticationFailed,
    ExchangeError,
    InsufficientFunds,
    InvalidOrder,
    NotSent,
    NotSupported,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Resend,
)
from kontor.exchange.guarded import GuardedExchange
from kontor.exchange.sessions import SessionPool
from kontor.paper.clock import ManualClock
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.paper.venue import Venue
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock

from .conftest import Opener

Maker = Callable[..., Order]
SPOT, SWAP = "BTC/USD", "BTC/USD:USD"
MARKET = OrderType.MARKET
KEYS = {"api_key": "paper-key", "secret": "paper-secret", "password": "paper-passphrase"}


@pytest.fixture
def venue_clock() -> ManualClock:
    """The venue's clock stands still, so that prices do."""
    return ManualClock(int(time.time() * 1000))


@pytest.fixture
async def paper(venue_clock: ManualClock) -> AsyncIterator[PaperServer]:
    """A paper exchange in memory, without rate limits."""
    settings = PaperSettings(port=0, persist=False, rate_limit_factor=0, tick_ms=10, markets=40)
    async with PaperServer(settings, venue=Venue(settings.venue_config(), clock=venue_clock)) as server:
        yield server


@pytest.fixture
async def desk(paper: PaperServer, open_at: Opener) -> GuardedExchange:
    """The desk's way to it."""
    exchange = open_at(paper.url, **KEYS)
    await exchange.load_markets()
    return exchange


@pytest.fixture
async def books(paper: PaperServer) -> AsyncIterator[Any]:
    """Unmodified ccxt: the venue's books without our adapter between."""
    config: Any = {
        "apiKey": "paper-key",
        "secret": "paper-secret",
        "password": "paper-passphrase",
        "urls": {"api": {"rest": paper.url, "ws": paper.ws_url}},
        "enableRateLimit": False,
        "timeout_on_exit": 0,
    }
    client: Any = ccxt.pro.okx(config)
    yield client
    await client.close()


async def fault(paper: PaperServer, **rule: Any) -> None:
    """Have the next matching request go wrong."""
    async with aiohttp.ClientSession() as session, session.post(f"{paper.url}/admin/faults", json=rule) as response:
        assert response.status == 200, await response.text()


async def resting_price(desk: GuardedExchange, symbol: str) -> Decimal:
    """A price three percent below the market, on the tick."""
    last = (await desk.fetch_tickers([symbol]))[symbol].last
    assert last is not None
    return (await desk.load_markets())[symbol].round_price(last * Decimal("0.97"))


async def test_markets_of_every_contract_size_are_in_base_currency(desk: GuardedExchange, books: Any) -> None:
    """From 0.01 to 1000 coins a contract."""
    markets, raw = await desk.load_markets(), await books.load_markets()
    assert markets.keys() == raw.keys()
    sizes = {market.contract_size for market in markets.values()}
    assert {Decimal("0.01"), Decimal(1), Decimal(1000)} <= sizes
    for symbol, market in markets.items():
        size = Decimal(str(raw[symbol]["contractSize"] or 1))
        assert market.quantity_step == Decimal(str(raw[symbol]["precision"]["amount"])) * size
        assert market.min_quantity == Decimal(str(raw[symbol]["limits"]["amount"]["min"])) * size


async def test_tickers_of_spot_and_swaps_come_together(desk: GuardedExchange) -> None:
    """Okx answers for one kind at a time."""
    markets = await desk.load_markets()
    every = await desk.fetch_tickers()
    assert every.keys() == markets.keys()
    assert all(ticker.last and ticker.bid and ticker.ask and ticker.bid < ticker.ask for ticker in every.values())
    assert float(every[SWAP].raw["info"]["volumeUsd24h"]) > 0
    some = await desk.fetch_tickers([SPOT, SWAP])
    assert some.keys() == {SPOT, SWAP}
    assert await desk.fetch_tickers([]) == {}


@pytest.mark.parametrize("symbol", [SPOT, SWAP, "DOGE/USD:USD"])
async def test_candles_agree_with_the_venues_and_end_with_the_last_finished_one(
    desk: GuardedExchange, books: Any, venue_clock: ManualClock, symbol: str
) -> None:
    """A thousand in four pages, ascending, without holes, volume in base currency."""
    candles = await desk.fetch_candles(symbol, "1m", limit=1000)
    assert candles.shape == (1000, 6)
    assert (np.diff(candles[:, 0]) == 60_000).all()
    assert candles[-1, 0] == venue_clock.now_ms() // 60_000 * 60_000 - 60_000
    theirs = np.array(await books.fetch_ohlcv(symbol, "1m", limit=300), dtype=np.float64)
    assert np.array_equal(candles[-299:], theirs[:-1])


async def test_candles_are_fetched_incrementally(
    desk: GuardedExchange, paper: PaperServer, venue_clock: ManualClock
) -> None:
    """From the last one on, with one small request."""
    before = await desk.fetch_candles(SWAP, "1m", limit=10)
    assert len(before) == 10
    since = datetime.fromtimestamp(before[-1, 0] / 1000, UTC)
    assert np.array_equal(await desk.fetch_candles(SWAP, "1m", since=since), before[-1:])
    assert len(await desk.fetch_candles(SWAP, "1m", since=since + timedelta(minutes=1))) == 0
    long_ago = since - timedelta(minutes=700)
    first = await desk.fetch_candles(SWAP, "1m", since=long_ago, limit=500)
    assert (len(first), first[0, 0]) == (500, long_ago.timestamp() * 1000)


@pytest.mark.parametrize("timeframe", ["5m", "1h", "1d"])
async def test_candles_of_other_timeframes(desk: GuardedExchange, timeframe: str) -> None:
    """Days begin at midnight UTC."""
    candles = await desk.fetch_candles(SWAP, timeframe, limit=50)
    step = {"5m": 300, "1h": 3600, "1d": 86400}[timeframe] * 1000
    assert len(candles) == 50
    assert (candles[:, 0] % step == 0).all()


async def test_a_timeframe_or_symbol_nobody_has_is_one_sentence(desk: GuardedExchange) -> None:
    """With what there is instead."""
    with pytest.raises(NotSupported, match=r"okx has no timeframe 7m; use one of 1m, 5m"):
        await desk.fetch_candles(SWAP, "7m")
    with pytest.raises(Rejected, match=r"okx has no market BTC/USDX; did you mean BTC/USD\?"):
        await desk.fetch_candles("BTC/USDX", "1m")
    with pytest.raises(Rejected, match="did you mean"):
        await desk.fetch_tickers(["BTC/USDX"])


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
async def test_a_tenth_of_a_bitcoin_is_a_tenth_on_spot_and_on_a_swap(
    desk: GuardedExchange, books: Any, make_order: Maker, symbol: str
) -> None:
    """Fill, position, balance and notional match the venue's own books."""
    before = await desk.fetch_balance()
    order = make_order(symbol, order_type=MARKET)
    receipt = await desk.create_order(order)
    report = await desk.fetch_order(symbol, client_order_id=order.client_order_id)
    assert report.venue_order_id == receipt.venue_order_id
    assert (report.state, report.quantity, report.filled_quantity) == (
        OrderState.FILLED,
        Decimal("0.1"),
        Decimal("0.1"),
    )
    fills = await desk.fetch_fills(symbol, venue_order_id=receipt.venue_order_id)
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
    assert {fill.client_order_id for fill in fills} == {order.client_order_id}
    raw = await books.fetch_order("", symbol, {"clientOrderId": order.client_order_id})
    size = Decimal(1) if symbol == SPOT else Decimal("0.01")
    assert Decimal(str(raw["filled"])) * size == Decimal("0.1")
    assert Decimal(str(raw["cost"])) == sum(fill.quantity * fill.price for fill in fills)
    after = await desk.fetch_balance()
    theirs = await books.fetch_balance()
    assert after.total == Decimal(str(theirs["USD"]["total"]))
    assert after.free == Decimal(str(theirs["USD"]["free"])) < before.free
    positions = await desk.fetch_positions()
    if symbol == SPOT:
        assert positions == []
        assert after.currencies["BTC"].total == Decimal(str(theirs["BTC"]["total"]))
    else:
        [position] = positions
        assert (position.side, position.quantity) == (PositionSide.LONG, Decimal("0.1"))
        assert position.entry_price == report.average_price
        assert position.notional == Decimal("0.1") * (position.mark_price or Decimal(0))


async def test_a_contract_of_a_thousand_coins(desk: GuardedExchange, make_order: Maker) -> None:
    """The venue counts in contracts, and nobody outside the adapter knows."""
    markets = await desk.load_markets()
    market = next(found for found in markets.values() if found.contract_size == 1000)
    quantity = market.min_quantity * 3
    order = make_order(market.symbol, order_type=MARKET, side=Side.SELL, quantity=quantity)
    await desk.create_order(order)
    [position] = await desk.fetch_positions()
    assert (position.symbol, position.side, position.quantity) == (market.symbol, PositionSide.SHORT, quantity)
    closing = make_order(market.symbol, order_type=MARKET, quantity=quantity, reduce_only=True)
    await desk.create_order(closing)
    assert await desk.fetch_positions() == []


async def test_a_resting_order_is_open_until_it_is_canceled_by_our_own_id(
    desk: GuardedExchange, make_order: Maker
) -> None:
    """And canceling it twice is a question, which the lookup answers."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP), post_only=True)
    receipt = await desk.create_order(order)
    [report] = await desk.fetch_open_orders()
    assert (report.client_order_id, report.venue_order_id) == (order.client_order_id, receipt.venue_order_id)
    assert (report.price, report.quantity, report.state) == (order.price, Decimal("0.1"), OrderState.ACCEPTED)
    assert await desk.fetch_open_orders(SPOT) == []
    await desk.cancel_order(SWAP, client_order_id=order.client_order_id)
    assert await desk.fetch_open_orders() == []
    with pytest.raises(OrderNotFound):
        await desk.cancel_order(SWAP, client_order_id=order.client_order_id)
    last = await desk.fetch_order(SWAP, venue_order_id=receipt.venue_order_id)
    assert (last.state, last.filled_quantity) == (OrderState.CANCELED, Decimal(0))


async def test_a_partly_filled_ioc_keeps_its_fill(desk: GuardedExchange, make_order: Maker) -> None:
    """More than the book holds at that price: canceled, with what was filled."""
    markets = await desk.load_markets()
    ask = (await desk.fetch_tickers([SWAP]))[SWAP].ask
    assert ask is not None
    quantity = markets[SWAP].max_quantity or Decimal(1000)
    await desk.set_leverage(SWAP, Decimal(100))
    order = make_order(SWAP, quantity=min(quantity, Decimal(100)), price=ask, time_in_force=TimeInForce.IOC)
    await desk.create_order(order)
    report = await desk.fetch_order(SWAP, client_order_id=order.client_order_id)
    assert report.state is OrderState.CANCELED
    assert 0 < report.filled_quantity < order.quantity


async def test_more_open_orders_than_a_page_are_all_seen(desk: GuardedExchange, make_order: Maker) -> None:
    """Okx lists a hundred at a time; an order that is not seen would be taken for gone."""
    price = await resting_price(desk, SWAP)
    orders = [make_order(SWAP, price=price, quantity=Decimal("0.001")) for _ in range(230)]
    results = await desk.create_orders(orders)
    assert all(isinstance(result, OrderReport) for result in results)
    seen = {report.client_order_id for report in await desk.fetch_open_orders()}
    assert seen == {order.client_order_id for order in orders}


async def test_more_fills_than_a_page_are_all_seen(desk: GuardedExchange, make_order: Maker) -> None:
    """With a start they are collected page by page, spot and swaps together."""
    began = datetime.now(UTC) - timedelta(minutes=1)
    symbols = [SPOT] * 130 + [SWAP] * 20
    orders = [make_order(symbol, order_type=MARKET, quantity=Decimal("0.001")) for symbol in symbols]
    results = await desk.create_orders(orders)
    assert not [result for result in results if isinstance(result, ExchangeError)]
    fills = await desk.fetch_fills(since=began)
    assert {fill.client_order_id for fill in fills} == {order.client_order_id for order in orders}
    assert len({fill.trade_id for fill in fills}) == len(fills)
    assert [fill.filled_at for fill in fills] == sorted(fill.filled_at for fill in fills)


async def test_a_batch_has_a_result_for_each_order(desk: GuardedExchange, make_order: Maker) -> None:
    """Spot and swap, good and bad, in one call and in order."""
    spot_price, swap_price = await resting_price(desk, SPOT), await resting_price(desk, SWAP)
    good = make_order(SPOT, price=spot_price)
    poor = make_order(SPOT, price=spot_price, quantity=Decimal(300))
    tiny = make_order(SWAP, price=swap_price, quantity=Decimal("0.00001"))
    also = make_order(SWAP, price=swap_price)
    first = await desk.create_orders([good, poor, tiny, also])
    kinds = [type(result) for result in first]
    assert kinds == [OrderReport, InsufficientFunds, InvalidOrder, OrderReport]
    again = await desk.create_orders([good, also])
    assert [type(result) for result in again] == [AlreadyPlaced, AlreadyPlaced]


async def test_what_the_venue_refuses_is_told_as_it_is(desk: GuardedExchange, make_order: Maker) -> None:
    """One line for each: too little money, an id that is taken, a moment that has passed."""
    price = await resting_price(desk, SPOT)
    with pytest.raises(InsufficientFunds) as poor:
        await desk.create_order(make_order(SPOT, price=price, quantity=Decimal(300)))
    assert poor.value.resend is Resend.NO
    order = make_order(SPOT, price=price)
    await desk.create_order(order)
    with pytest.raises(AlreadyPlaced) as twice:
        await desk.create_order(order)
    assert twice.value.resend is Resend.LOOK_UP
    with pytest.raises(NotSent, match="its time was over"):
        await desk.create_order(make_order(SPOT, price=price, good_until=datetime.now(UTC) - timedelta(seconds=30)))
    assert len(await desk.fetch_open_orders(SPOT)) == 1


@pytest.mark.parametrize("kind", ["drop_after", "html_200", "truncated_json", "empty_body"])
async def test_an_order_whose_answer_was_lost_is_found_by_our_id(
    desk: GuardedExchange, paper: PaperServer, make_order: Maker, kind: str
) -> None:
    """Unknown, then looked up: the order is there, once."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP))
    await fault(paper, path="/api/v5/trade/batch-orders", kind=kind)
    with pytest.raises(OutcomeUnknown):
        await desk.create_order(order)
    report = await desk.fetch_order(SWAP, client_order_id=order.client_order_id)
    assert apply_report(order, report).state is OrderState.ACCEPTED
    assert len(await desk.fetch_open_orders()) == 1


async def test_an_order_dropped_before_the_venue_saw_it_is_not_found(
    desk: GuardedExchange, paper: PaperServer, make_order: Maker
) -> None:
    """The same error on the wire, the other truth: only the venue's word tells them apart."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP))
    await fault(paper, path="/api/v5/trade/batch-orders", kind="drop_before")
    with pytest.raises(OutcomeUnknown):
        await desk.create_order(order)
    with pytest.raises(OrderNotFound):
        await desk.fetch_order(SWAP, client_order_id=order.client_order_id)


async def test_a_rate_limit_on_a_create_means_not_placed(
    desk: GuardedExchange, paper: PaperServer, make_order: Maker
) -> None:
    """It may be sent again once the venue wants us back."""
    order = make_order(SWAP, price=await resting_price(desk, SWAP))
    await fault(paper, path="/api/v5/trade/batch-orders", kind="http_429", seconds=0.05)
    with pytest.raises(RateLimited) as caught:
        await desk.create_order(order)
    assert caught.value.resend is Resend.YES
    await desk.create_order(order)


@pytest.mark.parametrize(
    "kind", ["http_500", "http_502", "http_503", "html_200", "truncated_json", "drop_after", "empty_body"]
)
async def test_a_read_recovers_from_a_fault_that_passes(desk: GuardedExchange, paper: PaperServer, kind: str) -> None:
    """The next attempt answers, and nobody was told."""
    await fault(paper, path="/api/v5/account/balance", kind=kind)
    assert (await desk.fetch_balance()).total == 100_000


async def test_a_wrong_key_is_told_as_such(paper: PaperServer, open_at: Opener) -> None:
    """At the first request, with what to check."""
    desk = open_at(paper.url, **{**KEYS, "secret": "wrong"})
    with pytest.raises(AuthenticationFailed, match="check key, secret, passphrase"):
        await desk.fetch_balance()


async def test_leverage_is_set_on_swaps_only(desk: GuardedExchange, make_order: Maker) -> None:
    """And shows in the next position."""
    await desk.set_leverage(SWAP, Decimal(7))
    await desk.create_order(make_order(SWAP, order_type=MARKET))
    [position] = await desk.fetch_positions()
    assert (position.leverage, position.margin_mode) == (Decimal(7), "cross")
    with pytest.raises(NotSupported, match="BTC/USD is a spot market"):
        await desk.set_leverage(SPOT, Decimal(7))


async def test_any_unified_read_can_be_called_and_nothing_else(desk: GuardedExchange) -> None:
    """Writes have their own ways in."""
    book = await desk.call("fetch_order_book", SPOT)
    assert book["bids"][0][0] < book["asks"][0][0]
    for name in ("create_order", "fetch_foo", "fetch2", "close", "fetch"):
        with pytest.raises(NotSupported, match=f"okx has no read named {name}"):
            await desk.call(name)


async def test_the_venues_clock_is_read(desk: GuardedExchange, venue_clock: ManualClock) -> None:
    """Aware UTC."""
    assert (await desk.fetch_time()) == datetime.fromtimestamp(venue_clock.now_ms() / 1000, UTC)


async def test_a_session_survives_a_restart_and_a_rotated_key(paper: PaperServer, make_order: Maker) -> None:
    """Whoever holds the session goes on trading; a second account shares the markets."""
    pool = SessionPool(clock=SystemClock())
    urls = {"rest": paper.url, "ws": paper.ws_url}
    settings = ExchangeSettings("okx", "paper", "paper-key", "paper-secret", "paper-passphrase", urls=urls)
    sub = ExchangeSettings("okx", "sub", "paper-sub-key", "paper-sub-secret", "paper-sub-passphrase", urls=urls)
    try:
        session, other = await pool.get(settings, 1), await pool.get(sub, 1)
        mine, theirs = await session.load_markets(), await other.load_markets()
        assert mine is theirs
        order = make_order(SWAP, order_type=MARKET, quantity=Decimal("0.001"))
        await session.create_order(order)
        assert await pool.restart(settings, 2) is session
        assert (await session.load_markets()) is not mine
        report = await session.fetch_order(SWAP, client_order_id=order.client_order_id)
        assert report.state is OrderState.FILLED
        assert (await other.fetch_balance()).total == 100_000
        assert {market.kind for market in mine.values()} == {MarketKind.SPOT, MarketKind.SWAP}
    finally:
        await pool.close()
