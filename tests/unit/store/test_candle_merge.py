"""Merging candles: by open time, the later given wins, whatever comes in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.market import NO_CANDLES, Candles
from kontor.errors import StoreError
from kontor.store.candles import PAGE_CANDLES, merge, page_milliseconds

rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=20)


def candles(pairs: list[tuple[int, int]]) -> Candles:
    array = np.zeros((len(pairs), 6))
    for i, (minute, close) in enumerate(pairs):
        array[i, 0], array[i, 4] = minute * 60_000, close
    return array


@given(rows, rows)
def test_merging_is_what_a_dictionary_does(old: list[tuple[int, int]], new: list[tuple[int, int]]) -> None:
    """The stored side is sorted and without doubles, the given side is whatever the venue sent."""
    stored = merge(NO_CANDLES, candles(old))
    expected = sorted({**dict(old), **dict(new)}.items())
    found = merge(stored, candles(new))
    assert [(int(row[0] // 60_000), int(row[4])) for row in found] == expected


@pytest.mark.parametrize(("timeframe", "minutes"), [("1m", 1), ("15m", 15), ("4h", 240), ("1d", 1440), ("1w", 10080)])
def test_a_page_is_128_candles_long(timeframe: str, minutes: int) -> None:
    """Changing this orphans every stored page: it needs a migration."""
    assert page_milliseconds(timeframe) == minutes * 60_000 * 128
    assert PAGE_CANDLES == 128


@pytest.mark.parametrize("timeframe", ["", "m", "1", "1x", "-1m", "1.5h", "minute"])
def test_an_unreadable_timeframe_is_told(timeframe: str) -> None:
    """With an example of a readable one."""
    with pytest.raises(StoreError, match="is not a timeframe: write it like 1m"):
        page_milliseconds(timeframe)
