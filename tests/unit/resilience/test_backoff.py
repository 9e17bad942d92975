"""Backoff: never above its maximum, never overflowing, and polite to those who say when to come back."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import AsyncRetrying, Future, RetryCallState

from kontor.errors import NotPlaced
from kontor.resilience.backoff import Backoff, parse_retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def state(attempt: int, error: Exception | None = None) -> RetryCallState:
    """A retry as tenacity describes it to a wait policy."""
    made = RetryCallState(AsyncRetrying(), None, (), {})
    made.attempt_number = attempt
    if error is not None:
        made.outcome = Future.construct(attempt, error, has_exception=True)
    return made


@given(
    attempt=st.integers(1, 100_000),
    initial=st.floats(0.001, 10),
    maximum=st.floats(0.001, 1000),
    seed=st.integers(),
)
def test_the_wait_is_between_nothing_and_the_maximum_however_often_it_failed(
    attempt: int, initial: float, maximum: float, seed: int
) -> None:
    """A day of outage makes attempt 5000: two to that power is no float any more."""
    wait = Backoff(initial, maximum, random.Random(seed))(state(attempt))
    assert 0 <= wait <= maximum
    if attempt == 1:
        assert wait <= initial


def test_the_bound_doubles() -> None:
    """The mean of many draws stays half the bound, which doubles until the maximum."""
    backoff = Backoff(1.0, 8.0, random.Random(1))
    bounds = [max(backoff(state(attempt)) for _ in range(2000)) for attempt in (1, 2, 3, 4, 5)]
    assert bounds == pytest.approx([1, 2, 4, 8, 8], rel=0.02)


def test_a_retry_after_is_waited_out_even_beyond_the_maximum() -> None:
    """Coming back earlier makes a venue angrier; the deadline around decides whether there is time."""
    error = NotPlaced("busy", retry_after=timedelta(seconds=30))
    assert 30 <= Backoff(0.1, 1.0, random.Random(1))(state(1, error)) <= 31
    assert Backoff(0.1, 1.0, random.Random(1))(state(1, NotPlaced("busy"))) <= 1


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("7", timedelta(seconds=7)),
        ("0.5", timedelta(seconds=0.5)),
        ("Thu, 01 Jan 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Thu, 01 Jan 2026 11:00:00 GMT", timedelta(0)),
        ("-3", timedelta(0)),
        ("259200", timedelta(days=3)),
        # An epoch, in seconds and in milliseconds.
        (str(int(NOW.timestamp()) + 20), timedelta(seconds=20)),
        (str(int(NOW.timestamp() * 1000) + 1500), timedelta(seconds=1.5)),
        # Nobody is sent away for a year: taken at its word, the desk would be silent for good.
        ("31536000", None),
        ("1e12", timedelta(0)),
        ("Thu, 01 Jan 2032 12:00:30 GMT", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_header_is_read_in_both_its_forms(header: str | None, asked: timedelta | None) -> None:
    """Seconds or an HTTP date; nonsense is no reason to crash."""
    assert parse_retry_after(header, NOW) == asked
