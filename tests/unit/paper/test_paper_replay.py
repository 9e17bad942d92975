"""Recorded candles, played again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.instruments import instruments_like
from kontor.paper.model import VenueConfig
from kontor.paper.prices.replay import ReplayError, ReplaySource
from kontor.paper.prices.source import MINUTE_MS, grouped
from kontor.paper.venue import Venue

NOW = 1_760_000_000_000
FIRST = 1_600_000_200_000
HEADER = "ts,open,high,low,close,volume\n"


def record(folder: Path, rows: list[tuple[float, ...]], name: str = "BTC-USD-SWAP") -> Path:
    file = folder / f"{name}.csv"
    file.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return folder


def walk(count: int, minutes: int = 1) -> list[tuple[float, ...]]:
    random, price, rows = np.random.default_rng(1), 50_000.0, []
    for number in range(count):
        close = round(price * (1 + random.normal() * 0.002), 1)
        high, low = round(max(price, close) * 1.001, 1), round(min(price, close) * 0.999, 1)
        rows.append(
            (
                FIRST // (minutes * MINUTE_MS) * minutes * MINUTE_MS + number * minutes * MINUTE_MS,
                price,
                high,
                low,
                close,
                number + 1,
            )
        )
        price = close
    return rows


@pytest.mark.parametrize("length", [1, 5, 15, 240])
def test_ticks_and_candles_of_every_length_agree_with_the_file(tmp_path: Path, length: int) -> None:
    """What is played must be what was recorded, whichever way a client looks."""
    rows = walk(120, length)
    source = ReplaySource(record(tmp_path, rows))
    (instrument,) = instruments_like(source.first_prices())
    first = int(rows[0][0]) // MINUTE_MS
    table = np.array(rows)
    minutes = source.bars(instrument, 1, first, 120 * length)
    whole = grouped(minutes, length)
    assert np.array_equal(np.stack(whole[:4]), table[:, 1:5].T)
    assert np.allclose(whole.volume, table[:, 5])
    if length > 1:
        assert np.array_equal(source.bars(instrument, length, first // length, 120).high, table[:, 2])
    ticks = np.stack([source.ticks([instrument], minute)[0] for minute in range(first, first + 30)])
    assert np.array_equal(ticks.max(axis=1), minutes.high[:30])
    assert np.array_equal(ticks[:, -1], minutes.close[:30])


def test_a_hole_in_the_data_is_a_flat_candle_without_volume(tmp_path: Path) -> None:
    """Exchanges have outages; a replay must not make up trading in them."""
    rows = walk(30)
    source = ReplaySource(record(tmp_path, rows[:10] + rows[13:]))
    (instrument,) = instruments_like(source.first_prices())
    bars = source.bars(instrument, 1, int(rows[0][0]) // MINUTE_MS, 30)
    assert set(np.concatenate([bars.open[10:13], bars.high[10:13], bars.low[10:13], bars.close[10:13]])) == {rows[9][4]}
    assert not bars.volume[10:13].any()


def test_before_and_after_the_data_the_price_stands_still(tmp_path: Path) -> None:
    """A replay that ran out is a market at rest, not an error."""
    rows = walk(30)
    source = ReplaySource(record(tmp_path, rows))
    (instrument,) = instruments_like(source.first_prices())
    bars = source.bars(instrument, 1, int(rows[0][0]) // MINUTE_MS - 2, 34)
    assert list(bars.close[:2]) == [rows[0][1]] * 2
    assert list(bars.close[-2:]) == [rows[-1][4]] * 2


def test_a_venue_plays_the_data_on_its_own_clock_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Half of the data is history at first, the rest comes with time; a restart must not start over."""
    rows = walk(200)
    config = VenueConfig(source=f"replay:{record(tmp_path, rows)}")
    clock = ManualClock(NOW)
    venue = Venue(config, clock=clock, path=tmp_path / "state.sqlite")
    history = venue.candles("BTC-USD-SWAP", "1m", limit=300)
    closes = [float(candle.close) for candle in history[1:]][::-1]
    assert closes[-100:] == [row[4] for row in rows[:100]]
    clock.advance(600)
    later = venue.candles("BTC-USD-SWAP", "1m", limit=300)
    assert [float(candle.close) for candle in later[1:11]][::-1] == [row[4] for row in rows[100:110]]
    venue.close()
    assert Venue(config, clock=clock, path=tmp_path / "state.sqlite").candles("BTC-USD-SWAP", "1m", limit=300) == later


@pytest.mark.parametrize(("count", "minutes", "kept"), [(400, 1, 60), (1200, 5, 1440)])
def test_longer_data_keep_their_time_of_day(tmp_path: Path, count: int, minutes: int, kept: int) -> None:
    """Recorded candles of an hour, or of a day, must still start at the full hour, or at midnight."""
    source = ReplaySource(record(tmp_path, walk(count, minutes)))
    source.align(NOW, 0.5)
    assert source.shift % kept == 0
    (instrument,) = instruments_like(source.first_prices())
    assert source.bars(instrument, 1, NOW // MINUTE_MS, 1).volume[0] > 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1600000260000,1,2,0.5,1", "line 3: 5 columns"),
        ("1600000260000,1,2,0.5,abc,1", "line 3: '1600000260000,1,2,0.5,abc,1' is not all numbers"),
        ("1600000260000,1,0.9,0.5,1,1", "line 3: open and close must lie between"),
        ("1600000260000,1,2,-1,1,1", "line 3: prices must be above 0"),
        ("1600000260000,1,nan,0.5,1,1", "line 3: prices must be above 0"),
        ("1600000200000,1,2,0.5,1,1", "line 3: ts 1600000200000 is not after the one before"),
        ("1600000260001,1,2,0.5,1,1", "line 3: ts 1600000260001 does not start a candle"),
    ],
)
def test_a_bad_row_is_one_sentence_with_file_and_line(tmp_path: Path, line: str, sentence: str) -> None:
    """A file of a million rows with one bad one must say which."""
    file = tmp_path / "BTC-USD-SWAP.csv"
    file.write_text(f"{HEADER}{FIRST},1,2,0.5,1,1\n{line}\n")
    with pytest.raises(ReplayError) as caught:
        ReplaySource(tmp_path)
    assert str(caught.value).startswith(f"{file} {sentence}")


def test_an_empty_folder_says_what_belongs_in_it(tmp_path: Path) -> None:
    """The name of a file is part of the format."""
    with pytest.raises(ReplayError, match=r"BTC-USD-SWAP\.csv"):
        ReplaySource(tmp_path)
    with pytest.raises(ValueError, match="'csv'"):
        Venue(VenueConfig(source="csv"), clock=ManualClock(NOW))
