"""What a price source offers: bars of whole minutes and the ticks inside one, as plain functions of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kontor.paper.model import Instrument

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

    def settings(self) -> dict[str, str]:
        """What a restart must find unchanged for the same prices to come out."""
        ...


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
