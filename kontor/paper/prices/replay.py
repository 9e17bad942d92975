"""Recorded candles played again on the venue's clock: a folder of CSV files, `ts,open,high,low,close,volume`, one
file a market.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kontor.paper.model import Instrument
from kontor.paper.prices.source import MINUTE_MS, Bars, Floats, PricesOnly, grouped, path_through

_COLUMNS = ["ts", "open", "high", "low", "close", "volume"]
_LENGTHS = (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440)  # minutes a recorded candle may last
_DAY, _HOUR = 1440, 60
_SPANS = (
    4  # from so many days (hours) of data on, moving them to the present keeps the time of day (minute of the hour)
)


class ReplayError(ValueError):
    """A recorded file cannot be used: the sentence names file, line and reason."""


@dataclass(frozen=True, slots=True)
class _Recording:
    """One file without holes: a missing candle is flat and without volume."""

    start: int  # minutes since 1970
    length: int  # minutes in a candle
    bars: Bars


class ReplaySource(PricesOnly):
    """Prices out of a folder, moved in time by `shift` minutes. Before the data and after their end the price stands
    still, without volume.
    """

    def __init__(self, folder: str | Path, tick_ms: int = 1000) -> None:
        self.folder = Path(folder)
        self.tick_ms = tick_ms
        self.shift = 0
        files = sorted(self.folder.glob("*.csv"))
        if not files:
            raise ReplayError(f"{self.folder}: no CSV files; expected one per market, such as BTC-USD-SWAP.csv")
        self._recordings = {file.stem: _read(file) for file in files}

    def first_prices(self) -> dict[str, float]:
        """The first price of each market, by instrument id."""
        return {inst_id: float(recording.bars.open[0]) for inst_id, recording in self._recordings.items()}

    def span(self) -> tuple[int, int]:
        """First minute and the minute behind the last, since 1970, as recorded."""
        recordings = self._recordings.values()
        return min(r.start for r in recordings), max(r.start + r.length * len(r.bars.open) for r in recordings)

    def align(self, now_ms: int, warmup: float) -> None:
        """Move the data so that this share of them is history at `now_ms`, keeping the time of day where they are
        long enough for it.
        """
        start = min(r.start for r in self._recordings.values())
        end = max(r.start + r.length * len(r.bars.open) for r in self._recordings.values())
        longest = max(r.length for r in self._recordings.values())
        unit = _DAY if end - start >= _SPANS * _DAY else max(longest, _HOUR if end - start >= _SPANS * _HOUR else 1)
        self.shift = (now_ms // MINUTE_MS - start - round(warmup * (end - start))) // unit * unit

    def settings(self) -> dict[str, str]:
        """The tick length and how far the data were moved."""
        return {"source": f"replay:{self.folder}", "tick_ms": str(self.tick_ms), "shift": str(self.shift)}

    def bars(self, instrument: Instrument, minutes: int, first: int, count: int) -> Bars:
        """Whole bars of one market."""
        recording = self._recordings[instrument.price_key]
        if minutes % recording.length == 0:
            size = minutes // recording.length
            return grouped(
                _taken(recording, (first * minutes - self.shift - recording.start) // recording.length, count * size),
                size,
            )
        rows = self._minutes(recording, first * minutes, count * minutes)
        prices = rows.reshape(count, -1)
        places = (
            np.arange(first * minutes, (first + count) * minutes) - self.shift - recording.start
        ) // recording.length
        volumes = _column(recording.bars.volume, places, 0.0, 0.0) / recording.length
        return Bars(
            prices[:, 0],
            prices.max(axis=1),
            prices.min(axis=1),
            prices[:, -1],
            volumes.reshape(count, minutes).sum(axis=1),
        )

    def table(self, instruments: Sequence[Instrument], minutes: int, first: int, count: int) -> Bars:
        """Whole bars of many markets, a row each."""
        rows = [self.bars(instrument, minutes, first, count) for instrument in instruments]
        return Bars(*(np.stack(column) for column in zip(*rows, strict=True)))

    def ticks(self, instruments: Sequence[Instrument], minute: int) -> Floats:
        """The ticks of one minute."""
        return np.concatenate([self._minutes(self._recordings[i.price_key], minute, 1) for i in instruments])

    def _minutes(self, recording: _Recording, first: int, count: int) -> Floats:
        """The ticks of `count` minutes, a row each: open, the extreme away from the close, the other one, close, in
        straight lines.
        """
        start = first - self.shift - recording.start
        place, skipped = divmod(start, recording.length)
        candles = _taken(recording, place, (start + count - 1) // recording.length - place + 1)
        per_minute = MINUTE_MS // self.tick_ms
        path = path_through(candles, per_minute * recording.length)
        return path.reshape(-1, per_minute)[skipped : skipped + count]


def _taken(recording: _Recording, first: int, count: int) -> Bars:
    """`count` candles from the first-th, flat outside the data."""
    places = np.arange(first, first + count)
    bars = recording.bars
    before, after = float(bars.open[0]), float(bars.close[-1])
    prices = [_column(column, places, before, after) for column in bars[:4]]
    return Bars(prices[0], prices[1], prices[2], prices[3], _column(bars.volume, places, 0.0, 0.0))


def _column(column: Floats, places: np.ndarray, before: float, after: float) -> Floats:
    inside = column[np.clip(places, 0, len(column) - 1)]
    return np.where(places < 0, before, np.where(places >= len(column), after, inside))


def _read(file: Path) -> _Recording:
    """A file's candles, or one sentence about the first row that is wrong."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(_rows(file, csv.reader(lines)))
    if not rows:
        raise ReplayError(f"{file}: no candles in it")
    table = np.array([row for _, row in rows])
    starts = table[:, 0].astype(np.int64) // MINUTE_MS
    length = int(np.diff(starts).min()) if len(starts) > 1 else 1
    if length not in _LENGTHS:
        raise ReplayError(f"{file}: candles of {length} minutes; expected one of {', '.join(map(str, _LENGTHS))}")
    for (line, row), start in zip(rows, starts, strict=True):
        if start % length or (row[0] % MINUTE_MS):
            raise ReplayError(f"{file} line {line}: ts {int(row[0])} does not start a candle of {length} minutes")
    return _Recording(int(starts[0]), length, _filled(table, (starts - starts[0]) // length))


def _rows(file: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[float]]]:
    latest = -math.inf
    for line, cells in enumerate(reader, 1):
        if not cells or (line == 1 and [cell.strip().lower() for cell in cells] == _COLUMNS):
            continue
        row = _row(file, line, cells)
        if row[0] <= latest:
            raise ReplayError(f"{file} line {line}: ts {int(row[0])} is not after the one before")
        latest = row[0]
        yield line, row


def _row(file: Path, line: int, cells: list[str]) -> list[float]:
    """Six numbers that can be a candle."""
    if len(cells) != len(_COLUMNS):
        raise ReplayError(f"{file} line {line}: {len(cells)} columns; expected {','.join(_COLUMNS)}")
    try:
        row = [float(cell) for cell in cells]
    except ValueError:
        raise ReplayError(f"{file} line {line}: {','.join(cells)!r} is not all numbers") from None
    _, open_, high, low, close, volume = row
    if not all(math.isfinite(value) for value in row) or low <= 0 or volume < 0:
        raise ReplayError(f"{file} line {line}: prices must be above 0 and the volume not negative")
    if high < max(open_, close) or low > min(open_, close):
        raise ReplayError(f"{file} line {line}: open and close must lie between low {low:g} and high {high:g}")
    return row


def _filled(table: Floats, places: np.ndarray) -> Bars:
    """Columns with every missing candle flat at the close before it."""
    source = np.searchsorted(places, np.arange(places[-1] + 1), side="right") - 1
    real = places[source] == np.arange(places[-1] + 1)
    closes = table[source, 4]
    prices = [np.where(real, table[source, column], closes) for column in (1, 2, 3)]
    return Bars(prices[0], prices[1], prices[2], closes, np.where(real, table[source, 5], 0.0))
