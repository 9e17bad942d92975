"""The adapter on the paper exchange: what the desk reads agrees with the venue's own books."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState
from kontor.errors import AuthenticationFailed, NotSupported, Rejected
from kontor.exchange.guarded import GuardedExchange
from kontor.exchange.sessions import SessionPool
from kontor.paper.clock import ManualClock
from kontor.paper.server import PaperServer
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import SystemClock

from .conftest import Maker, Opener
from .on_paper import KEYS, MARKET, SPOT, SWAP, fault


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
