"""Markets, watchlist, tickers, candles and ranges, on every adapter."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kontor.domain.market import NO_CANDLES, Candles, Market, MarketKind, Ticker
from kontor.domain.ranges import Range
from kontor.domain.snapshot import Snapshot
from kontor.errors import StoreError
from kontor.ports import Store
from tests.contract.store.builders import BTC, ETH, NOW, at, make_candles

SYMBOLS = [BTC, ETH]


def make_market(symbol: str, **values: Any) -> Market:
    one = Decimal(1)
    given: dict[str, Any] = {
        "kind": MarketKind.SWAP,
        "base": "BTC",
        "quote": "USD",
        "settle": "USD",
        "active": True,
        "contract_size": Decimal("0.01"),
        "quantity_step": one,
        "price_step": Decimal("0.1"),
        "min_quantity": one,
    }
    return Market(symbol, **{**given, **values})


async def test_markets_are_replaced_as_a_whole(store: Store) -> None:
    """A market that the venue has delisted is gone; the ccxt market comes back for the filters."""
    raw = {
        "id": "BTC-USD-SWAP",
        "info": {"volumeUsd24h": "12.5", "tiers": [1, None, True]},
        "precision": {"price": 0.1},
    }
    btc = make_market(BTC, raw=raw, max_quantity=Decimal(1000), min_cost=Decimal(5), max_leverage=Decimal("12.5"))
    eth = make_market(ETH, kind=MarketKind.SPOT, settle=None, active=False)
    await store.market.save_markets("paper", {ETH: eth, BTC: btc}, NOW)
    assert await store.market.markets("paper") == {BTC: btc, ETH: eth}
    assert (await store.market.markets("paper"))[BTC].raw == raw
    await store.market.save_markets("paper", {ETH: eth}, NOW)
    assert await store.market.markets("paper") == {ETH: eth}
    assert await store.market.markets("other") == {}


async def test_the_watchlist_keeps_its_order_and_its_moment(store: Store) -> None:
    """An empty watchlist is something else than none."""
    assert await store.market.watchlist("paper") is None
    await store.market.save_watchlist("paper", [ETH, BTC], NOW)
    assert await store.market.watchlist("paper") == Snapshot((ETH, BTC), NOW)
    await store.market.save_watchlist("paper", [], at(1))
    assert await store.market.watchlist("paper") == Snapshot((), at(1))
    assert await store.market.watchlist("other") is None


async def test_tickers_keep_the_newest(store: Store) -> None:
    """A late answer does not bring an old price back; an equal moment may correct it."""
    new = Ticker(BTC, Decimal("60000.1"), at(5), bid=Decimal(1), ask=Decimal(2), quote_volume=Decimal("1E9"))
    await store.market.save_tickers("paper", [new, Ticker(ETH, Decimal(3000), at(1))], NOW)
    await store.market.save_tickers("paper", [Ticker(BTC, Decimal(1), at(4), bid=Decimal(7))], NOW)
    assert (await store.market.tickers("paper"))[BTC] == new
    await store.market.save_tickers("paper", [Ticker(BTC, Decimal(2), at(5))], NOW)
    assert (await store.market.tickers("paper"))[BTC] == Ticker(BTC, Decimal(2), at(5))


async def test_a_ticker_without_a_last_price_leaves_price_and_time_alone(store: Store) -> None:
    """Its age stays visible; the book's sides are as new as they are."""
    await store.market.save_tickers("paper", [Ticker(BTC, Decimal(5), at(1), bid=Decimal(4))], NOW)
    await store.market.save_tickers("paper", [Ticker(BTC, None, at(2), bid=Decimal(3), ask=Decimal(6))], NOW)
    expected = Ticker(BTC, Decimal(5), at(1), bid=Decimal(3), ask=Decimal(6))
    assert await store.market.tickers("paper") == {BTC: expected}


async def test_a_first_price_counts_even_if_it_is_older_than_none(store: Store) -> None:
    """A market that has just been listed has a ticker before it has a trade."""
    await store.market.save_tickers("paper", [Ticker(BTC, None, at(9))], NOW)
    assert (await store.market.tickers("paper"))[BTC].last is None
    await store.market.save_tickers("paper", [Ticker(BTC, Decimal(5), at(1))], NOW)
    assert (await store.market.tickers("paper"))[BTC] == Ticker(BTC, Decimal(5), at(1))


async def test_tickers_are_asked_for_by_symbol(store: Store) -> None:
    """A symbol without a ticker is left out."""
    tickers = {symbol: Ticker(symbol, Decimal(1), NOW, raw={"x": 1}) for symbol in SYMBOLS}
    await store.market.save_tickers("paper", list(tickers.values()), NOW)
    await store.market.save_tickers("paper", [], NOW)
    assert await store.market.tickers("paper", [ETH, "SOL/USD"]) == {ETH: tickers[ETH]}
    assert await store.market.tickers("paper", []) == {}
    assert list(await store.market.tickers("paper")) == SYMBOLS
    assert await store.market.tickers("other") == {}


async def read(store: Store, **how: int) -> Mapping[str, Candles]:
    return await store.market.candles("paper", "1m", SYMBOLS, **how)


def same(found: Mapping[str, Candles], expected: Mapping[str, Candles]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[key], expected[key]) for key in expected)


async def test_candles_come_back_bit_by_bit(store: Store) -> None:
    """Floats of any kind, oldest first, over page borders; the array is the caller's own."""
    candles = make_candles(0, 1000)
    candles[:, 2:] = np.random.default_rng(1).standard_normal((1000, 4)) * 10.0 ** np.arange(-9, 11, 5)
    candles[3, 4] = np.nan
    await store.market.save_candles("paper", "1m", {BTC: candles, ETH: NO_CANDLES})
    found = await read(store)
    assert list(found) == [BTC]
    assert found[BTC].dtype == np.float64
    assert np.array_equal(found[BTC], candles, equal_nan=True)
    found[BTC][0, 4] = -1
    assert np.array_equal((await read(store))[BTC], candles, equal_nan=True)


async def test_candles_are_inserted_or_replaced_by_open_time(store: Store) -> None:
    """The refresh overlaps what is there; gaps are filled in later; what overlaps nothing stays."""
    await store.market.save_candles("paper", "1m", {BTC: make_candles(100, 300, close=1), ETH: make_candles(0, 2)})
    await store.market.save_candles("paper", "1m", {BTC: make_candles(350, 150, close=2)})
    await store.market.save_candles("paper", "1m", {BTC: make_candles(10, 20, close=3)})
    expected = np.concatenate(
        [make_candles(10, 20, close=3), make_candles(100, 250, close=1), make_candles(350, 150, close=2)]
    )
    found = (await read(store))[BTC]
    assert np.array_equal(found[:, 0], expected[:, 0])
    assert np.array_equal(found[:, 4], expected[:, 4])
    assert len((await read(store))[ETH]) == 2


async def test_unsorted_and_doubled_candles_are_put_right(store: Store) -> None:
    """Some venues send the newest first; of two candles with one open time the later one counts."""
    given = np.concatenate([make_candles(0, 3, close=1)[::-1], make_candles(1, 1, close=2)])
    await store.market.save_candles("paper", "1m", {BTC: given})
    found = (await read(store))[BTC]
    assert found[:, 4].tolist() == [1, 2, 1]
    assert np.all(np.diff(found[:, 0]) == 60_000)


@pytest.mark.parametrize("limit", [0, 1, 127, 128, 129, 400, 401, 5000])
async def test_the_newest_candles_are_read(store: Store, limit: int) -> None:
    """The limit does not care about pages."""
    candles = make_candles(0, 400)
    await store.market.save_candles("paper", "1m", {BTC: candles, ETH: candles[:5]})
    expected = {BTC: candles[-limit:], ETH: candles[:5][-limit:]} if limit else {}
    assert same(await read(store, limit=limit), expected)


async def test_timeframes_and_accounts_are_apart(store: Store) -> None:
    """The same open time in two timeframes is two candles."""
    minutes, hours = make_candles(0, 3), make_candles(0, 3, minutes=60)
    await store.market.save_candles("paper", "1m", {BTC: minutes})
    await store.market.save_candles("paper", "1h", {BTC: hours})
    await store.market.save_candles("other", "1m", {BTC: minutes[:1]})
    assert same(await read(store), {BTC: minutes})
    assert same(await store.market.candles("paper", "1h", [BTC]), {BTC: hours})
    assert len((await store.market.candles("other", "1m", [BTC]))[BTC]) == 1
    assert await store.market.candles("paper", "4h", [BTC]) == {}


async def test_an_unreadable_timeframe_is_a_clear_error(store: Store) -> None:
    """It would otherwise be stored where nobody looks."""
    with pytest.raises(StoreError, match="'minute' is not a timeframe"):
        await store.market.save_candles("paper", "minute", {BTC: make_candles(0, 1)})


async def test_the_newest_open_time_tells_where_to_go_on(store: Store) -> None:
    """The next fetch starts there."""
    candles = make_candles(0, 200)
    await store.market.save_candles("paper", "1m", {BTC: candles, ETH: candles[:1]})
    found = await store.market.last_candle_at("paper", "1m")
    assert found == {
        BTC: datetime.fromtimestamp(candles[-1, 0] / 1000, UTC),
        ETH: datetime.fromtimestamp(candles[0, 0] / 1000, UTC),
    }
    assert await store.market.last_candle_at("paper", "5m") == {}


@pytest.mark.parametrize("keep", [0, 1, 100, 128, 300, 400])
async def test_pruning_keeps_the_newest(store: Store, keep: int) -> None:
    """History is bounded; the answer says how many candles went."""
    candles = make_candles(0, 400)
    await store.market.save_candles("paper", "1m", {BTC: candles, ETH: candles[:50]})
    await store.market.save_candles("paper", "5m", {BTC: candles})
    expected = {BTC: candles[-keep:], ETH: candles[:50][-keep:]} if keep else {}
    assert await store.market.prune_candles("paper", "1m", keep=keep) == 450 - sum(map(len, expected.values()))
    assert same(await read(store), expected)
    assert await store.market.prune_candles("paper", "1m", keep=keep) == 0
    assert len((await store.market.candles("paper", "5m", [BTC]))[BTC]) == 400


async def test_two_hundred_markets_of_a_thousand_candles_go_in_one_call(store: Store) -> None:
    """A full refresh of the watchlist."""
    candles = {f"M{i}/USD:USD": make_candles(0, 1000, close=i) for i in range(200)}
    await store.market.save_candles("paper", "1m", candles)
    assert same(await store.market.candles("paper", "1m", list(candles)), candles)


async def test_ranges_are_replaced_by_symbol(store: Store) -> None:
    """A side may be missing; other symbols stay."""
    btc = Range(BTC, Decimal("61000.5"), None, "1h", None, NOW)
    eth = Range(ETH, Decimal(3100), Decimal(2900), "1m", "4h", NOW)
    await store.market.save_ranges("paper", [btc, eth])
    await store.market.save_ranges("paper", [])
    assert await store.market.ranges("paper") == {BTC: btc, ETH: eth}
    newer = Range(BTC, Decimal(62000), Decimal(60000), "1h", "1d", at(1))
    await store.market.save_ranges("paper", [newer])
    assert await store.market.ranges("paper") == {BTC: newer, ETH: eth}
    assert await store.market.ranges("other") == {}
