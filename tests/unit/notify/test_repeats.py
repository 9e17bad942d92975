"""Repeated alerts: one at once, then digests, ever more seldom."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kontor.notify.repeats import Repeats
from kontor.notify.windows import LONGEST
from kontor.ports import Alert

DOWN = Alert("update-tickers is down", "Last success 31 s ago.", "critical", datetime(2026, 1, 1, tzinfo=UTC), "paper")
UP = replace(DOWN, title="update-tickers is up again", text="It works.", severity="info")
FAILED = replace(DOWN, title="update-tickers failed", severity="warning", fields=(("Run", "red-fox"),))
FILL = replace(DOWN, title="Filled", severity="info", side="buy", fields=(("Price", "1"),))


def test_the_first_goes_out_at_once_and_the_rest_comes_as_one_digest() -> None:
    """Twelve more of these is news; twelve more messages are noise."""
    repeats = Repeats(first_window=60)
    admitted = [repeats.admit(DOWN, now) is not None for now in range(14)]
    assert admitted == [True] + [False] * 13
    assert repeats.next_due_at() == 60
    assert repeats.due(59.9) == []
    (digest,) = repeats.due(60)
    assert (digest.alert.title, digest.repeats) == (DOWN.title, 12)
    assert repeats.next_due_at() is None


def test_a_day_of_flapping_makes_fewer_than_twenty_messages() -> None:
    """A component that goes up and down all day must not hide what else happens."""
    repeats = Repeats()
    sent = 0
    for now in range(0, 24 * 3600, 10):
        sent += len(repeats.due(now))
        sent += repeats.admit(DOWN if now % 20 else UP, now) is not None
    assert 2 <= sent < 20


@pytest.mark.parametrize("period", [10, 90, 600, 3600, 5 * 3600])
def test_a_day_of_flapping_is_eight_messages_however_fast_it_flaps(period: int) -> None:
    """What comes back every five minutes, or every hour, is flapping too."""
    repeats = Repeats()
    story = [replace(DOWN, group="updater"), replace(UP, group="updater")]
    sent = 0
    for now in range(0, 24 * 3600, 10):
        sent += len(repeats.due(now))
        if now % period == 0:
            sent += repeats.admit(story[now // period % 2], now) is not None
    assert 2 <= sent <= 8


def test_an_alert_that_stayed_away_is_news_again() -> None:
    """Grouping must not swallow tomorrow's outage."""
    repeats = Repeats(first_window=60)
    assert repeats.admit(DOWN, 0)
    assert not repeats.admit(DOWN, 30)
    assert len(repeats.due(60)) == 1  # the next window is 300 s
    assert repeats.due(360) == []
    assert repeats.admit(DOWN, 361)


def test_a_trade_is_never_grouped() -> None:
    """Two equal fills are two fills."""
    repeats = Repeats()
    assert all(repeats.admit(FILL, now) for now in (0, 0, 1))


def test_other_figures_and_another_run_are_the_same_failure() -> None:
    """A failing updater has a new run name and another duration each time."""
    repeats = Repeats()
    assert repeats.admit(FAILED, 0)
    assert not repeats.admit(replace(FAILED, text="Last success 41 s ago.", fields=(("Run", "blue-cat"),)), 1)


def test_what_differs_in_title_account_or_a_critical_fact_is_another_alert() -> None:
    """Two orders with an unknown outcome are two orders to look at."""
    repeats = Repeats()
    unknown = replace(DOWN, title="Outcome unknown", fields=(("Order", "k-1"),))
    assert repeats.admit(unknown, 0)
    assert repeats.admit(replace(unknown, fields=(("Order", "k-2"),)), 0)
    assert repeats.admit(replace(unknown, account="live"), 0)
    assert repeats.admit(replace(unknown, title="Halted"), 0)


def test_the_end_of_the_process_flushes_what_is_held() -> None:
    """What was counted but never said would be lost."""
    repeats = Repeats()
    for _ in range(3):
        repeats.admit(DOWN, 0)
    (digest,) = repeats.flush(1)
    assert digest.repeats == 1
    assert repeats.flush(1) == []


def test_memory_is_bounded() -> None:
    """An endless supply of different alerts must not be remembered forever."""
    repeats = Repeats(capacity=10)
    for number in range(1000):
        repeats.admit(replace(UP, text=f"{number}"), number)
        repeats.admit(replace(UP, text=f"{number}"), number)
    assert len(repeats.flush(0)) <= 10


def test_windows_stop_growing_at_six_hours() -> None:
    """A trouble that lasts a week is still mentioned four times a day."""
    repeats = Repeats()
    repeats.admit(DOWN, 0)
    now = 0.0
    for _ in range(12):
        repeats.admit(DOWN, now)
        due = repeats.next_due_at()
        assert due is not None
        assert due - now <= LONGEST
        now = due
        assert len(repeats.due(now)) == 1
