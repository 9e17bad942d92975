"""Candles and tickers as a client gets them: paged, rounded, and never from the future."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.model import Candle, VenueError
from kontor.paper.venue import Venue

MINUTE = 60_000
LENGTHS = {
    "1m": 1,
    "3m": 3,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1H": 60,
    "2H": 120,
    "4H": 240,
    "6Hutc": 360,
    "12Hutc": 720,
    "1Dutc": 1440,
}


@pytest.mark.parametrize("bar", LENGTHS)
def test_a_thousand_candles_of_every_length_are_there_from_the_start(venue: Venue, bar: str) -> None:
    """Ranges are looked for in 1000 candles, on a desk that was started a minute ago."""
    newest = venue.candles("ETH-USD-SWAP", bar, limit=1000)
    starts = [candle.ts for candle in newest]
    assert len(newest) == 1000
    assert {a - b for a, b in pairwise(starts)} == {LENGTHS[bar] * MINUTE}
    assert starts[0] == venue.now() // (LENGTHS[bar] * MINUTE) * LENGTHS[bar] * MINUTE
    assert [candle.confirm for candle in newest[:2]] == [False, True]
    assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in newest)


def test_the_unfinished_candle_grows_with_the_ticks_and_ends_as_what_it_showed(
    venue: Venue, clock: ManualClock
) -> None:
    """Watching every tick of five minutes gives exactly the five-minute candle that is served afterwards."""
    clock.resume_at(venue.now() // (5 * MINUTE) * 5 * MINUTE + 5 * MINUTE)
    seen: list[Decimal] = []
    for _ in range(300):
        seen.append(venue.mark_price("DOGE-USD-SWAP"))
        (now,) = venue.candles("DOGE-USD-SWAP", "5m", limit=1)
        assert (now.open, now.high, now.low, now.close, now.confirm) == (seen[0], max(seen), min(seen), seen[-1], False)
        clock.advance(1)
    _, done = venue.candles("DOGE-USD-SWAP", "5m", limit=2)
    assert (done.open, done.high, done.low, done.close, done.confirm) == (seen[0], max(seen), min(seen), seen[-1], True)


def test_nothing_of_the_future_shows_in_any_answer(venue: Venue, clock: ManualClock) -> None:
    """The source knows tomorrow; a client that could read it would be rich on paper only."""
    asked = {bar: venue.candles("BTC-USD", bar, limit=5) for bar in LENGTHS}
    clock.advance(90_000)
    for bar, early in asked.items():
        late = {candle.ts: candle for candle in venue.candles("BTC-USD", bar, limit=2000)}
        assert [late[candle.ts] for candle in early[1:]] == early[1:]
        assert early[0].high <= late[early[0].ts].high
        assert early[0].low >= late[early[0].ts].low


def test_paging_cuts_as_okx_does(venue: Venue) -> None:
    """Ccxt pages with both bounds, exclusive; `before` alone gives the newest."""
    everything = venue.candles("BTC-USD-SWAP", "1m", limit=50)
    older = venue.candles("BTC-USD-SWAP", "1m", after=everything[9].ts, limit=10)
    assert older == everything[10:20]
    assert venue.candles("BTC-USD-SWAP", "1m", before=everything[20].ts, limit=5) == everything[:5]
    between = venue.candles("BTC-USD-SWAP", "1m", after=everything[5].ts, before=everything[12].ts, limit=300)
    assert between == everything[6:12]
    assert venue.candles("BTC-USD-SWAP", "1m", after=1_000, limit=5) == []
    assert venue.candles("BTC-USD-SWAP", "1m", before=venue.now(), limit=5) == []
    assert venue.candles("BTC-USD-SWAP", "1m", limit=3, confirmed_only=True) == everything[1:4]


def test_days_begin_at_midnight_in_hong_kong_unless_asked_for_utc(venue: Venue) -> None:
    """OKX's `1D` is not a UTC day; a desk that mixes the two trades on the wrong close."""
    assert {candle.ts // MINUTE % 1440 for candle in venue.candles("BTC-USD-SWAP", "1D", limit=4)} == {16 * 60}
    assert {candle.ts // MINUTE % 1440 for candle in venue.candles("BTC-USD-SWAP", "1Dutc", limit=4)} == {0}
    assert {candle.ts // MINUTE % 10080 for candle in venue.candles("BTC-USD-SWAP", "1Wutc", limit=4)} == {4 * 1440}


def test_unknown_bars_and_markets_are_refused_in_okx_words(venue: Venue) -> None:
    """A typing error must not look like an empty market."""
    with pytest.raises(VenueError, match="51000: Parameter bar error"):
        venue.candles("BTC-USD-SWAP", "7m")
    with pytest.raises(VenueError, match="51001"):
        venue.candles("BTC-EUR", "1m")


def test_a_ticker_agrees_with_candles_and_book(venue: Venue, clock: ManualClock) -> None:
    """Last, best prices and the day's extremes come from different places and must tell one story."""
    for _ in range(3):
        clock.advance(1_799)
        for ticker in venue.tickers():
            candles: list[Candle] = venue.candles(ticker.inst_id, "1m", limit=1440)
            book = venue.book(ticker.inst_id, 5)
            assert ticker.last == candles[0].close == venue.mark_price(ticker.inst_id)
            assert ticker.high_24h >= max(candle.high for candle in candles)
            assert ticker.low_24h <= min(candle.low for candle in candles)
            assert (ticker.bid_px, ticker.ask_px) == (book.bids[0].px, book.asks[0].px)
            assert ticker.last in (ticker.bid_px, ticker.ask_px)
            assert ticker.sod_utc0 == venue.candles(ticker.inst_id, "1Dutc", limit=1)[0].open
            assert ticker.sod_utc8 == venue.candles(ticker.inst_id, "1D", limit=1)[0].open
            hours = venue.candles(ticker.inst_id, "1H", limit=25)
            assert ticker.open_24h == hours[-1].open


def test_spot_and_swap_of_a_base_stay_close(venue: Venue) -> None:
    """A basis of a few hundredths of a percent, as on a real venue, not two unrelated coins."""
    swap, spot = venue.mark_price("SOL-USD-SWAP"), venue.mark_price("SOL-USD")
    assert abs(swap / spot - 1) < Decimal("0.001")


def test_a_jump_set_by_hand_moves_both_markets_and_their_candles(
    venue: Venue, clock: ManualClock, open_venue: Callable[..., Venue]
) -> None:
    """Stops and drawdown limits are tried by a price that an operator sets."""
    before = venue.candles("BTC-USD", "1m", limit=5)
    venue.set_price("BTC-USD-SWAP", Decimal("40000.5"))
    assert venue.mark_price("BTC-USD-SWAP") == Decimal("40000.5")
    assert abs(venue.mark_price("BTC-USD") / 40000 - 1) < Decimal("0.001")
    assert venue.candles("BTC-USD", "1m", limit=5)[1:] == before[1:]
    assert venue.candles("BTC-USD-SWAP", "1H", limit=1)[0].low <= Decimal("40000.5")
    assert venue.ticker("BTC-USD-SWAP").low_24h <= Decimal("40000.5")
    clock.advance(1)
    assert abs(venue.mark_price("BTC-USD-SWAP") / 40000 - 1) < Decimal("0.01")
    with pytest.raises(ValueError, match="above 0"):
        venue.set_price("BTC-USD-SWAP", Decimal(0))


def test_public_trades_lie_at_the_ticks(venue: Venue) -> None:
    """The crowd trades at the last price of its tick."""
    trades = venue.trades("BTC-USD-SWAP", 200)
    assert len({trade.trade_id for trade in trades}) == 200
    assert trades[0].px == venue.mark_price("BTC-USD-SWAP")
    minute = venue.candles("BTC-USD-SWAP", "1m", limit=2)[1]
    inside = [trade.px for trade in trades if minute.ts <= trade.ts < minute.ts + MINUTE]
    assert (max(inside), min(inside)) == (minute.high, minute.low)
