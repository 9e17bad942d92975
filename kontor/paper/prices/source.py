"""What a price source offers: bars of whole minutes and the ticks inside one, as plain functions of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kontor.paper.model import Instrument, PublicTrade

Floats = NDArray[np.float64]
MINUTE_MS = 60_000
NATIVE_MINUTES = (1440, 240, 60, 15, 5, 1)  # each a whole multiple of the next


class Bars(NamedTuple):
    """Columns of equal shape: prices unrounded, volume in base currency."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def from_columns(columns: Sequence[Floats] | Floats) -> Bars:
    """Bars out of five columns."""
    return Bars(columns[0], columns[1], columns[2], columns[3], columns[4])


class PriceSource(Protocol):
    """Prices as a function of time. Minutes are counted since 1970; nothing depends on what was asked before.

    A source may know the future; whoever asks for a client must cut it off.
    """

    tick_ms: int

    def bars(self, instrument: Instrument, minutes: int, first: int, count: int) -> Bars:
        """`count` bars of one of `NATIVE_MINUTES`, from bar number `first` (its start in minutes, divided by
        `minutes`).
        """
        ...

    def table(self, instruments: Sequence[Instrument], minutes: int, first: int, count: int) -> Bars:
        """The same for many markets at once: columns of shape (instruments, count). `count` bars must not exceed two
        days.
        """
        ...

    def ticks(self, instruments: Sequence[Instrument], minute: int) -> Floats:
        """The prices of one minute, a row per instrument, a column per tick; open, high, low and close of the row are
        the minute's bar.
        """
        ...

    def volume_until(self, instrument: Instrument, minute: int, ticks: int) -> Floats:
        """What is traded in the first ticks of a minute: one number."""
        ...

    @property
    def trouble(self) -> str:
        """Why prices cannot be traded on at the moment; empty while they can."""
        ...

    def since_ms(self, instrument: Instrument, minutes: int) -> int:
        """When the oldest bar of this length begins; 0 where that is before anything one can ask for."""
        ...

    def recorded_trades(self, instrument: Instrument, limit: int) -> list[PublicTrade] | None:
        """The last trades, newest first, of a source that knows of trades; None of one that knows prices only."""
        ...

    def settings(self) -> dict[str, str]:
        """What a restart must find unchanged for the same prices to come out."""
        ...


class PricesOnly:
    """What a source without an end and without trades of its own says of both; mixed in before its `bars`."""

    tick_ms: int
    trouble = ""

    def volume_until(self, instrument: Instrument, minute: int, ticks: int) -> Floats:
        """An even share of the minute's."""
        whole: Bars = self.bars(instrument, 1, minute, 1)  # pyright: ignore[reportAttributeAccessIssue]
        return whole.volume * (ticks * self.tick_ms / MINUTE_MS)

    def since_ms(self, instrument: Instrument, minutes: int) -> int:
        """Bars reach back as far as one can ask."""
        del instrument, minutes
        return 0

    def recorded_trades(self, instrument: Instrument, limit: int) -> list[PublicTrade] | None:
        """None: prices are all there is."""
        del instrument, limit


def path_through(candles: Bars, steps: int) -> Floats:
    """Prices inside candles, `steps` for each, a row each: open, the extreme away from the close, the other one, close,
    in straight lines.
    """
    rises = candles.close >= candles.open
    near, far = np.where(rises, candles.low, candles.high), np.where(rises, candles.high, candles.low)
    corners = np.stack([candles.open, near, far, candles.close], axis=1)
    at = np.array([0, steps // 3, 2 * steps // 3, steps - 1])
    numbers = np.arange(steps)
    leg = np.searchsorted(at[1:-1], numbers, side="right")
    share = (numbers - at[leg]) / (at[leg + 1] - at[leg])
    path = corners[:, leg] + (corners[:, leg + 1] - corners[:, leg]) * share
    path[:, -1] = candles.close
    return path


def grouped(bars: Bars, size: int) -> Bars:
    """Bars of `size` bars each; their number must divide evenly."""
    columns = Bars(*(column.reshape(-1, size) for column in bars))
    return Bars(
        columns.open[:, 0],
        columns.high.max(axis=1),
        columns.low.min(axis=1),
        columns.close[:, -1],
        np.cumsum(columns.volume, axis=1)[:, -1],
    )
