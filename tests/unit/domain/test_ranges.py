"""Ranges: second-order swing levels, held against a plain reading of their definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kontor.domain.ranges import nearest_levels, swings


def candles(highs: list[float], lows: list[float]) -> np.ndarray:
    rows = [[i * 60_000, low, high, low, high, 1.0] for i, (high, low) in enumerate(zip(highs, lows, strict=True))]
    return np.array(rows, dtype=np.float64)


def plain_swings(values: list[float]) -> list[float]:
    return [
        values[i] for i in range(2, len(values) - 2) if all(values[i] > values[i + shift] for shift in (-2, -1, 1, 2))
    ]


@given(arrays(np.float64, st.integers(0, 60), elements=st.integers(0, 20).map(float)))
def test_a_swing_stands_above_the_two_values_on_each_side(values: np.ndarray) -> None:
    assert list(swings(values)) == plain_swings(list(values))


def test_the_nearest_second_order_swings_beyond_half_a_percent_are_the_range() -> None:
    """Peaks 101 103 110 104 102 | 105 106 120 107 105: 110 is a swing among swings, and 120 too; 110 is nearer."""
    peaks = [101, 103, 110, 104, 102, 105, 106, 120, 107, 105]
    highs: list[float] = []
    lows: list[float] = []
    for peak in peaks:
        highs += [90, 95, peak, 95, 90]
        lows += [100 - (p - 100) for p in (90, 95, peak, 95, 90)]
    high, low = nearest_levels(candles(highs, lows), 100.0)
    assert (high, low) == (110.0, 90.0)


def test_levels_within_half_a_percent_of_the_price_do_not_count() -> None:
    peaks = [101, 103, 110, 104, 102, 105, 106, 120, 107, 105]
    highs = [value for peak in peaks for value in (90.0, 95.0, float(peak), 95.0, 90.0)]
    flat = [50.0] * len(highs)
    assert nearest_levels(candles(highs, flat), 109.6) == (120.0, None)


def test_a_straight_line_has_no_range() -> None:
    line = [float(i) for i in range(1, 200)]
    assert nearest_levels(candles(line, line), 100.0) == (None, None)
