"""What people are told of circuit breakers and streams."""

from datetime import UTC, datetime, timedelta

import pytest

from kontor.notify.queued import sameness
from kontor.ports import Alert, Store
from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus
from kontor.store.memory import MemoryStore
from tasks import breakers
from tasks.breakers import BreakerReporter, breaker_alert

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "state", "title", "event"),
    [
        ("okx rest", BreakerState.OPEN, "Circuit breaker open: okx rest", "breaker.opened"),
        ("okx rest", BreakerState.CLOSED, "Circuit breaker closed: okx rest", "breaker.closed"),
        ("okx stream-market", BreakerState.OPEN, "Stream degraded: okx stream-market", "stream.degraded"),
        ("okx stream-market", BreakerState.CLOSED, "Stream recovered: okx stream-market", "stream.recovered"),
    ],
)
def test_a_change_of_a_breaker_is_told(name: str, state: BreakerState, title: str, event: str) -> None:
    """And which of the two roads to the venue is closed."""
    status = BreakerStatus(name, state, 5, AT, AT + timedelta(seconds=30), "5 timeouts")
    alert = breaker_alert("paper", status, AT)
    assert alert is not None
    assert (alert.title, alert.event) == (title, event)


def test_a_trial_is_not_told_and_open_and_closed_are_one_story() -> None:
    """A breaker that flaps is one alert, then a digest."""
    assert breaker_alert("paper", BreakerStatus("okx rest", BreakerState.HALF_OPEN), AT) is None
    opened = breaker_alert("paper", BreakerStatus("okx rest", BreakerState.OPEN, reason="x"), AT)
    closed = breaker_alert("paper", BreakerStatus("okx rest", BreakerState.CLOSED), AT)
    assert opened is not None
    assert closed is not None
    assert sameness(opened) == sameness(closed)


def test_an_address_of_a_stream_is_told_as_the_stream_and_its_return_once_all_are_back() -> None:
    """Two addresses are one story: nobody wants two alerts for one outage, or an all-clear halfway through it."""
    name, stream = "okx stream-market ws.okx.com:8443/ws/v5/public", "okx stream-market"
    opened = breaker_alert("paper", BreakerStatus(name, BreakerState.OPEN, reason="503", whole=stream), AT)
    assert opened is not None
    assert (opened.title, opened.event) == ("Stream degraded: okx stream-market", "stream.degraded")
    half = BreakerStatus(name, BreakerState.CLOSED, whole=stream, is_news=False)
    assert breaker_alert("paper", half, AT) is None
    closed = breaker_alert("paper", BreakerStatus(name, BreakerState.CLOSED, whole=stream), AT)
    assert closed is not None
    assert closed.title == "Stream recovered: okx stream-market"
    assert sameness(opened) == sameness(closed)


class Ears:
    """Takes alerts."""

    def __init__(self) -> None:
        self.heard: list[Alert] = []

    def notify(self, alert: Alert) -> None:
        self.heard.append(alert)


async def test_a_stream_that_is_back_says_how_long_it_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first address that failed until the last is back."""
    ears, store = Ears(), MemoryStore()

    async def a_store() -> Store:
        return store

    monkeypatch.setattr(breakers, "process_sender", lambda: ears)
    monkeypatch.setattr(breakers, "emit_event", lambda *_, **__: None)
    reporter = BreakerReporter(a_store)
    stream = "okx stream-market"
    story = (
        (0, "public", BreakerState.OPEN, True),
        (5, "business", BreakerState.OPEN, True),
        (30, "public", BreakerState.HALF_OPEN, True),
        (31, "public", BreakerState.CLOSED, False),  # the other address is still away
        (90, "business", BreakerState.CLOSED, True),
    )
    for second, address, state, is_news in story:
        since, name = AT + timedelta(seconds=second), f"{stream} {address}"
        status = BreakerStatus(name, state, since=since, reason="no route", whole=stream, is_news=is_news)
        reporter.changed("paper", status)
        assert reporter._task is not None
        await reporter._task
    await reporter.close()
    assert [alert.event for alert in ears.heard] == ["stream.degraded", "stream.degraded", "stream.recovered"]
    assert ears.heard[-1].text == "It was away for 90 s."
    assert reporter._opened == {}
