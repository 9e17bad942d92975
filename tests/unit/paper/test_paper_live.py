"""Live prices without a network: what becomes of prices, trades, gaps and candles as they are told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from kontor.domain.market import Market, MarketKind, Ticker
from kontor.paper.clock import ManualClock
from kontor.paper.instruments import make_instruments
from kontor.paper.listing import choose
from kontor.paper.model import Instrument, PublicTrade, VenueConfig
from kontor.paper.prices.live import LiveSource
from kontor.paper.venue import Venue
from kontor.resilience.clock import SystemClock
from tests.unit.paper.conftest import ACCOUNTS

MINUTE = 60_000
NOW = 1_760_000_040_000 // MINUTE * MINUTE
ITEM = replace(make_instruments(8)[0], price_key="BTC-USD-SWAP")
KEY = ITEM.price_key


@pytest.fixture
def source() -> LiveSource:
    made = LiveSource("okx", 1000)
    made.open_market(KEY, 100.0, NOW)
    return made


def trade(price: str, at: int, size: str = "1") -> PublicTrade:
    return PublicTrade(KEY, str(at), Decimal(price), Decimal(size), "buy", at)


def test_a_price_rules_from_the_next_tick_on(source: LiveSource) -> None:
    """What has been answered for a tick stays: resting orders have been matched against it."""
    before = source.ticks([ITEM], NOW // MINUTE)[0].copy()
    source.told(KEY, 105.0, NOW + 10_500)
    after = source.ticks([ITEM], NOW // MINUTE)[0]
    assert after[:11].tolist() == before[:11].tolist() == [100.0] * 11
    assert set(after[11:]) == {105.0}


def test_a_peak_within_a_tick_is_seen(source: LiveSource) -> None:
    """An order at 110 was reached, though the price came back before the tick was over."""
    for price in (101.0, 110.0, 102.0):
        source.told(KEY, price, NOW + 5_100)
    ticks = source.ticks([ITEM], NOW // MINUTE)[0]
    assert ticks[6] == 110.0
    assert set(ticks[7:]) == {102.0}


def test_of_a_minute_that_is_over_only_its_bar_is_kept(source: LiveSource) -> None:
    """A hundred trades a minute of 200 markets, kept for four days, would be gigabytes."""
    for minute in range(NOW // MINUTE + 1, NOW // MINUTE + 61):
        for number in range(100):
            at = minute * MINUTE + number * 500
            source.traded(KEY, trade(str(100 + (number * 7) % 50), at), 1.0, at)
    made = source._markets[KEY].made
    assert sum(len(each.prices) for each in made.values()) < 60 * 4 + 200
    bar = source.bars(ITEM, 1, NOW // MINUTE + 30, 1)
    assert [float(column[0]) for column in (bar.open, bar.high, bar.low, bar.close, bar.volume)] == [
        100.0,
        149.0,
        100.0,
        143.0,
        100.0,
    ]


def test_trades_make_the_bar_of_their_own_minute(source: LiveSource) -> None:
    """Those that arrive after the minute's end belong to it all the same."""
    minute = NOW // MINUTE + 1
    for price, at in (("101", 100), ("109", 20_000), ("99", 40_000), ("104", 59_900)):
        source.traded(KEY, trade(price, minute * MINUTE + at), 2.0, minute * MINUTE + at + 300)
    source.traded(KEY, trade("107", (minute + 1) * MINUTE + 50), 5.0, (minute + 1) * MINUTE + 300)
    bar = [float(column[0]) for column in source.bars(ITEM, 1, minute, 1)]
    assert bar == [101.0, 109.0, 99.0, 104.0, 8.0]
    assert not source.take_wanted()
    assert source.volume_until(ITEM, minute + 1, 10).tolist() == [5.0]


def test_minutes_of_a_gap_are_wanted_until_the_exchange_has_told_them(source: LiveSource) -> None:
    """What was made of half a minute's trades must not stand for the whole."""
    minute = NOW // MINUTE + 1
    source.traded(KEY, trade("101", minute * MINUTE), 2.0, minute * MINUTE)
    source.missed(minute * MINUTE + 1000, (minute + 2) * MINUTE)
    source.told(KEY, 103.0, (minute + 3) * MINUTE)
    source.bars(ITEM, 1, minute, 3)
    [wanted] = source.take_wanted()
    assert (wanted.first, wanted.stop) == (minute, minute + 3)
    source.learned(KEY, 1, [(minute + place, (1.0, 2.0, 0.5, 1.5, 9.0)) for place in range(3)])
    assert source.bars(ITEM, 1, minute, 3).volume.tolist() == [9.0, 9.0, 9.0]
    assert not source.take_wanted()


def test_longer_bars_are_joined_where_the_minutes_are_known_and_wanted_elsewhere(source: LiveSource) -> None:
    """Nobody asks the exchange for what is there already."""
    first = NOW // MINUTE // 5 * 5 - 10
    source.learned(KEY, 1, [(first + place, (1.0 + place, 20.0 + place, 0.5, 2.0 + place, 1.0)) for place in range(5)])
    bars = source.bars(ITEM, 5, first // 5, 1)
    assert [float(column[0]) for column in bars] == [1.0, 24.0, 0.5, 6.0, 5.0]
    assert not source.take_wanted()
    source.bars(ITEM, 5, first // 5 - 3, 3)
    [wanted] = source.take_wanted()
    assert (wanted.minutes, wanted.first, wanted.stop) == (5, first // 5 - 3, first // 5)
    source.unsupported.add(5)
    source.bars(ITEM, 5, first // 5 - 3, 3)
    assert {(each.minutes, each.first) for each in source.take_wanted()} == {(1, first - 15)}


def test_times_without_trades_are_flat_and_times_before_the_first_trade_never_were(source: LiveSource) -> None:
    """Some exchanges leave candles without trades out."""
    source.learned(KEY, 60, [(100, (1.0, 2.0, 1.0, 2.0, 5.0)), (103, (3.0, 3.0, 3.0, 3.0, 1.0))])
    assert source.searched(KEY, 60, range(90, 104))
    assert source.since_ms(ITEM, 60) == 100 * 60 * MINUTE
    source.searched(KEY, 60, range(100, 104))
    assert source.bars(ITEM, 60, 100, 4).close.tolist() == [2.0, 2.0, 2.0, 3.0]
    assert not source.take_wanted()


def test_memory_is_bounded(source: LiveSource) -> None:
    """A paper exchange runs for months."""
    source.learned(KEY, 1, ((number, (1.0, 1.0, 1.0, 1.0, 1.0)) for number in range(10_000)))
    for minute in range(7000):
        source.traded(KEY, trade("100", NOW + minute * MINUTE), 1.0, NOW + minute * MINUTE)
    market = source._markets[KEY]
    assert len(market.bars[1]) <= 6000
    assert len(market.made) <= 6000
    assert len(market.rows) <= 5
    assert len(market.trades) <= 500
    for _ in range(2000):
        source.traded(KEY, trade("101", NOW + 6999 * MINUTE), 1.0, NOW + 6999 * MINUTE)
    assert len(market.made[NOW // MINUTE + 6999].prices) <= 500


def test_resting_orders_are_filled_by_live_prices_and_none_while_they_are_in_trouble() -> None:
    """The venue's own code, on a clock moved by hand."""
    clock, source = ManualClock(NOW), LiveSource("okx", 1000)
    source.open_market(KEY, 62_000.0, NOW)
    live = _Live((replace(ITEM, index=0),), source)
    venue = Venue(VenueConfig(accounts=ACCOUNTS), clock=clock, live=live)
    body = {"instId": KEY, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": "61000"}
    placed = venue.place_order("paper", body)
    assert placed.s_code == "0", placed.s_msg
    clock.advance(10)
    venue.advance()
    source.told(KEY, 60_900.0, clock.now_ms())
    source.told(KEY, 61_500.0, clock.now_ms())
    clock.advance(5)
    assert venue.order("paper", KEY, placed.ord_id).state == "filled"
    assert venue.ticker(KEY).last == Decimal(61500)
    assert venue.ticker(KEY).low_24h == Decimal(60900)
    source.trouble = "no live prices of okx for 20 s"
    refused = venue.place_order("paper", body)
    assert (refused.s_code, "no live prices of okx" in refused.s_msg) == ("50001", True)
    venue.close()


class _Live:
    def __init__(self, instruments: tuple[Instrument, ...], source: LiveSource) -> None:
        self.instruments, self.source = instruments, source


def market(symbol: str, quote: str, settle: str | None = None, **more: object) -> Market:
    steps = {"quantity_step": Decimal("0.01"), "price_step": Decimal("0.1"), "min_quantity": Decimal("0.02")}
    kind = MarketKind.SWAP if settle else MarketKind.SPOT
    contract = Decimal("0.01") if settle else Decimal(1)
    base = symbol.split("/", maxsplit=1)[0]
    return Market(symbol, kind, base, quote, settle, **{"active": True, "contract_size": contract, **steps, **more})  # pyright: ignore[reportArgumentType]


def test_the_most_traded_dollar_market_of_each_base_is_listed() -> None:
    """BTC/USDT and BTC/USDC are one market here; inverse, inactive and other quotes are none."""
    markets = {
        each.symbol: each
        for each in (
            market("BTC/USDT", "USDT"),
            market("BTC/USDC", "USDC"),
            market("BTC/USDT:USDT", "USDT", "USDT"),
            market("BTC/USD:BTC", "USD", "BTC"),
            market("ETH/BTC", "BTC"),
            market("SOL/USDT", "USDT", active=False),
            market("USDC/USDT", "USDT"),
            market("ETH/USDT", "USDT", price_step=Decimal(0)),
            market("XRP/USDT", "USDT"),
        )
    }
    volumes = {"BTC/USDT": 10, "BTC/USDC": 20, "BTC/USDT:USDT": 30, "ETH/USDT": 5}
    now = SystemClock().now()
    tickers = {
        name: Ticker(name, Decimal(2000), now, quote_volume=Decimal(volumes.get(name, 1))) for name in markets
    } | {"XRP/USDT": Ticker("XRP/USDT", None, now)}
    listed = choose(markets, tickers, 3)
    assert [(each.symbol, each.instrument.inst_id) for each in listed] == [
        ("BTC/USDT:USDT", "BTC-USD-SWAP"),
        ("BTC/USDC", "BTC-USD"),
        ("ETH/USDT", "ETH-USD"),
    ]
    swap, spot, eth = (each.instrument for each in listed)
    assert (swap.ct_val, swap.lot_sz, swap.min_sz, swap.tick_sz) == (Decimal("0.01"), 1, 2, Decimal("0.1"))
    assert (spot.ct_val, spot.lot_sz, spot.min_sz) == (1, Decimal("0.01"), Decimal("0.02"))
    assert eth.tick_sz == Decimal("0.1")
    assert [item.index for item in (swap, spot, eth)] == [0, 1, 2]
    assert [each.instrument.inst_id for each in choose(markets, tickers, 1, {"ETH-USD"})] == ["ETH-USD"]
    assert np.all([each.instrument.depth_usd > 0 for each in listed])
