"""Synthetic prices: the same for everybody, at every length of candle, for as long as the seed is the same."""

from __future__ import annotations

import numpy as np
import pytest

from kontor.paper.instruments import make_instruments
from kontor.paper.model import Instrument
from kontor.paper.prices.shocks import Shock, ShockedSource
from kontor.paper.prices.source import NATIVE_MINUTES, Bars, grouped
from kontor.paper.prices.synthetic import SyntheticSource

MINUTE = 1_760_000_000_000 // 60_000
MARKETS = make_instruments(60)
BTC, BTC_SPOT, ETH, USDT = MARKETS[0], MARKETS[1], MARKETS[2], MARKETS[6]


def same(left: Bars, right: Bars) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left[:4], right[:4], strict=True)) and np.allclose(
        left.volume, right.volume, rtol=1e-9
    )


def returns(prices: np.ndarray) -> np.ndarray:
    return np.diff(np.log(prices))


@pytest.mark.parametrize("instrument", [BTC, USDT, MARKETS[59]], ids=lambda i: i.inst_id)
def test_every_candle_is_exactly_the_shorter_candles_in_it(instrument: Instrument) -> None:
    """A strategy that reads 1h candles and one that reads 1m candles must see one market."""
    day = MINUTE // 1440 - 3
    minutes = SyntheticSource(7).bars(instrument, 1, day * 1440, 2 * 1440)
    for length in NATIVE_MINUTES[:-1]:
        whole = SyntheticSource(7).bars(instrument, length, day * 1440 // length, 2 * 1440 // length)
        assert same(whole, grouped(minutes, length))


def test_every_minute_is_exactly_its_ticks() -> None:
    """A candle must show what clients saw tick by tick: first, highest, lowest and last."""
    source = SyntheticSource(7)
    bars = source.bars(ETH, 1, MINUTE - 40, 40)
    together = source.ticks(MARKETS, MINUTE - 1)[2]  # many markets and few take different ways
    rows = np.stack([SyntheticSource(7).ticks([BTC, ETH], minute)[1] for minute in range(MINUTE - 40, MINUTE)])
    assert np.array_equal(rows[-1], together)
    assert np.array_equal(rows[:, 0], bars.open)
    assert np.array_equal(rows[:, -1], bars.close)
    assert np.array_equal(rows.max(axis=1), bars.high)
    assert np.array_equal(rows.min(axis=1), bars.low)


def test_prices_do_not_depend_on_what_was_asked_before() -> None:
    """Two processes, or one before and after a restart, must agree on every price."""
    fresh, used = SyntheticSource(7), SyntheticSource(7)
    for length in (1440, 5, 60):
        used.bars(BTC, length, MINUTE // length - 700, 650)
    used.ticks(MARKETS[:9], MINUTE)
    assert same(fresh.bars(BTC, 1, MINUTE - 400, 333), used.bars(BTC, 1, MINUTE - 400, 333))
    assert np.array_equal(fresh.ticks([BTC], MINUTE), used.ticks(MARKETS[:5], MINUTE)[:1])


@pytest.mark.parametrize(("minutes", "count"), [(60, 24), (1, 60), (1, 7), (1440, 2)])
def test_many_markets_at_once_cost_no_accuracy(minutes: int, count: int) -> None:
    """Tickers of all markets come out of one big computation and must equal the small ones."""
    source = SyntheticSource(3)
    first = MINUTE // minutes - count // 2
    table = source.table(MARKETS, minutes, first, count)
    for row in (0, 1, 6, 59):
        assert same(Bars(*(column[row] for column in table)), source.bars(MARKETS[row], minutes, first, count))


def test_another_seed_is_another_market() -> None:
    """Otherwise the seed would be a decoration."""
    assert not same(
        SyntheticSource(7).bars(BTC, 60, MINUTE // 60, 5), SyntheticSource(8).bars(BTC, 60, MINUTE // 60, 5)
    )


def test_markets_move_together_but_not_alike() -> None:
    """Portfolio limits are only tried by markets that fall together."""
    source = SyntheticSource(7)
    btc, eth = (returns(source.bars(i, 1440, MINUTE // 1440 - 600, 600).close) for i in (BTC, ETH))
    assert 0.3 < np.corrcoef(btc, eth)[0, 1] < 0.98


def test_there_are_calm_and_wild_days_and_gaps() -> None:
    """A market of one temper would leave half of a strategy untried."""
    bars = SyntheticSource(7).bars(BTC, 1, MINUTE // 1440 * 1440 - 20 * 1440, 20 * 1440)
    halves = np.array([returns(part).std() for part in bars.close.reshape(-1, 720)])
    assert halves.max() > 2 * halves.min()
    gaps = np.abs(bars.open[1:] / bars.close[:-1] - 1)
    assert 0.002 < (gaps > 0).mean() < 0.05


def test_a_dollar_coin_stays_near_a_dollar_and_others_near_their_level() -> None:
    """Prices wander for years without running away, so that a desk can be left on."""
    source = SyntheticSource(7)
    days = source.bars(USDT, 1440, MINUTE // 1440 - 1000, 1000)
    assert 0.97 < days.low.min() < days.high.max() < 1.03
    btc = source.bars(BTC, 1440, MINUTE // 1440 - 1000, 1000)
    assert BTC.base_price / 4 < btc.low.min() < btc.high.max() < BTC.base_price * 4


def test_finer_ticks_are_possible_and_uneven_ones_refused() -> None:
    """Streams are measured at ten updates a second."""
    source = SyntheticSource(7, tick_ms=100)
    row = source.ticks([BTC], MINUTE)[0]
    assert len(row) == 600
    assert row.max() == source.bars(BTC, 1, MINUTE, 1).high[0]
    with pytest.raises(ValueError, match="7000 ms"):
        SyntheticSource(7, tick_ms=7000)


def test_after_a_shock_candles_still_agree_with_ticks() -> None:
    """An operator's jump in the middle of a minute is a jump in every candle around it, and in none before."""
    calm, source = SyntheticSource(7), ShockedSource(SyntheticSource(7))
    source.add(Shock("BTC", MINUTE * 60 + 17, 0.9))
    source.add(Shock("BTC", (MINUTE + 9) * 60 + 5, 1.2))
    day = MINUTE // 1440
    minutes = source.bars(BTC, 1, day * 1440, 1440)
    for length in NATIVE_MINUTES[:-1]:
        assert same(source.bars(BTC, length, day * 1440 // length, 1440 // length), grouped(minutes, length))
    row = source.ticks([BTC], MINUTE)[0]
    place = MINUTE - day * 1440
    assert (minutes.open[place], minutes.low[place], minutes.close[place]) == (row[0], row.min(), row[-1])
    assert np.array_equal(row[:17], calm.ticks([BTC], MINUTE)[0][:17])
    assert np.allclose(row[17:], calm.ticks([BTC], MINUTE)[0][17:] * 0.9)
    assert same(source.bars(ETH, 60, day * 24, 24), calm.bars(ETH, 60, day * 24, 24))
    assert np.array_equal(source.table([BTC], 60, day * 24, 24).high[0], source.bars(BTC, 60, day * 24, 24).high)
