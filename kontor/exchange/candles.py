"""Candle rows as one float64 array, read straight from the venue's answer where its columns can be learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kontor.domain.market import NO_CANDLES, Candles

WIDTH = 6
# Venues write times in milliseconds or seconds; ccxt turns both into milliseconds.
TIME_SCALES = (1.0, 1000.0)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where time, open, high, low, close and volume stand in a venue's row, and what its time is multiplied by."""

    order: tuple[int, ...]
    time_scale: float
    width: int


def learn_columns(client: Any, market: Mapping[str, Any], row: Any) -> Columns | None:
    """The columns of rows like this one, found by having ccxt parse a row of distinct numbers in its place.

    None when rows are no plain lists, or when ccxt computes something from them: then each row is parsed by ccxt,
    which costs about four times as much.
    """
    if not isinstance(row, list) or len(row) < WIDTH:
        return None
    probe = [str(1009 + 13 * at) if isinstance(value, str) else 1009 + 13 * at for at, value in enumerate(row)]
    try:
        parsed = [float(value) for value in client.parse_ohlcv(list(probe), market)]
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    values = [float(value) for value in probe]
    scale = next((scale for scale in TIME_SCALES if parsed[0] / scale in values), None)
    if scale is None or len(parsed) != WIDTH or any(value not in values for value in parsed[1:]):
        return None
    order = (values.index(parsed[0] / scale), *(values.index(value) for value in parsed[1:]))
    return Columns(order, scale, len(row))


def read_rows(rows: Sequence[Any], columns: Columns) -> Candles | None:
    """The array of raw rows; None when one of them does not fit or is not a number."""
    if any(len(row) != columns.width for row in rows):
        return None
    try:
        table = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    candles = table[:, columns.order]
    candles[:, 0] *= columns.time_scale
    return candles


def parse_rows(client: Any, market: Mapping[str, Any], rows: Sequence[Any]) -> Candles:
    """The array of raw rows, each parsed by ccxt."""
    return from_parsed([client.parse_ohlcv(row, market) for row in rows])


def from_parsed(rows: Sequence[Sequence[Any]]) -> Candles:
    """The array of ccxt candles; a null volume is 0, a candle without a price is dropped."""
    if not rows:
        return NO_CANDLES
    table = np.array([[np.nan if value is None else float(value) for value in row[:WIDTH]] for row in rows])
    return tidy(table)


def tidy(candles: Candles) -> Candles:
    """Ascending by time, each time once, without rows that lack a price."""
    if not len(candles):
        return NO_CANDLES
    candles = candles[~np.isnan(candles[:, :5]).any(axis=1)]
    candles[:, 5] = np.nan_to_num(candles[:, 5], nan=0.0)
    _, first = np.unique(candles[:, 0], return_index=True)
    return candles[first]


def finished(candles: Candles, step_ms: int, now_ms: float) -> Candles:
    """Those whose time is over at `now_ms`."""
    over: NDArray[np.bool_] = candles[:, 0] + step_ms <= now_ms
    return candles[over]
