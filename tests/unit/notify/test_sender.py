"""The background sender against channels without a network: bounded, ordered, drained, and never in anybody's way."""

import asyncio
import gc
import logging
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import aiohttp
import pytest

from kontor.config.alerts import ChannelRules, Grouping
from kontor.notify.delivery import NotDelivered, Refused, Unreachable
from kontor.notify.lane import Outlet
from kontor.notify.queued import Queued
from kontor.notify.repeats import Repeats
from kontor.notify.sender import BackgroundSender
from kontor.ports import Alert

AT = datetime(2026, 1, 1, tzinfo=UTC)
# Most tests are about other things than too many alerts.
LOUD = ChannelRules(grouping=Grouping(burst=1000))


def an_alert(title: str, **changes: str) -> Alert:
    return Alert(**{"title": title, "text": "", "severity": "info", **changes}, at=AT)  # pyright: ignore[reportArgumentType]


@dataclass(eq=False)
class Recorder:
    """A channel that keeps what it gets; closed until `gate` is set, failing while `errors` lasts."""

    name: str = "recorder"
    is_for_people: bool = True
    per_message: int = 10
    batches: list[list[Queued]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Queue[Queued] = field(default_factory=asyncio.Queue)

    @property
    def titles(self) -> list[str]:
        return [queued.alert.title for batch in self.batches for queued in batch]

    def fit(self, waiting: list[Queued]) -> int:
        return min(len(waiting), self.per_message)

    async def send(self, session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        assert not session.closed
        self.entered.set()
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(batch)
        for queued in batch:
            self.arrived.put_nowait(queued)


class Desk:
    """A sender with the channels that a test gives it."""

    def __init__(self) -> None:
        self.channels: list[Recorder] = []
        self.asked = 0
        self.source_error: Exception | None = None
        self.sender = BackgroundSender(self.source, capacity=100, refresh_seconds=0.0)

    async def source(self) -> Sequence[Outlet]:
        self.asked += 1
        if self.source_error is not None:
            raise self.source_error
        return [Outlet(channel, LOUD) for channel in self.channels]

    def open(self, name: str = "recorder", *, opened: bool = True) -> Recorder:
        recorder = Recorder(name)
        if opened:
            recorder.gate.set()
        self.channels.append(recorder)
        return recorder


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.sender.close(seconds=0.0)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("kontor-")] == []


async def test_alerts_arrive_in_order(desk: Desk) -> None:
    """A fill told before its order would be read as another order."""
    recorder = desk.open()
    for number in range(50):
        desk.sender.notify(an_alert(f"{number}"))
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles == [f"{number}" for number in range(50)]


async def test_notify_returns_before_anything_is_sent(desk: Desk) -> None:
    """Nothing in trading may wait for an alert (behaviour 29)."""
    recorder = desk.open(opened=False)
    started = time.perf_counter()
    for number in range(100):
        desk.sender.notify(an_alert(f"{number}"))
    assert time.perf_counter() - started < 2
    assert recorder.batches == []
    assert desk.sender.waiting == 100


async def test_a_stalled_channel_does_not_hold_up_the_other(desk: Desk) -> None:
    """Discord being slow is no reason for Telegram to be silent."""
    stalled, healthy = desk.open("discord", opened=False), desk.open("telegram")
    for number in range(30):
        desk.sender.notify(an_alert(f"{number}"))
    assert await desk.sender.drain(seconds=0.2) == 30
    assert len(healthy.titles) == 30
    assert stalled.titles == []


async def test_the_drain_keeps_its_deadline_and_says_what_is_left(desk: Desk) -> None:
    """The end of a run must not hang on a stalled webhook (behaviour 26)."""
    desk.open(opened=False)
    for number in range(7):
        desk.sender.notify(an_alert(f"{number}"))
    started = time.perf_counter()
    assert await desk.sender.drain(seconds=0.1) == 7
    assert time.perf_counter() - started < 2


async def test_an_overflow_drops_the_oldest_and_reports_how_many_later(desk: Desk) -> None:
    """The newest alerts are those a person can still act on, and a silent loss would be worse than the loss."""
    recorder = desk.open(opened=False)
    desk.sender.notify(an_alert("first"))
    await recorder.entered.wait()
    for number in range(250):
        desk.sender.notify(an_alert(f"{number}"))
        await asyncio.sleep(0)
    assert desk.sender.waiting == 101  # the one in flight, and a full queue
    recorder.gate.set()
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles[0] == "first"
    assert recorder.titles[1] == "150 alerts could not be delivered here"
    assert recorder.titles[2:] == [f"{number}" for number in range(150, 250)]
    assert desk.sender.lost == 0


async def test_a_burst_of_ten_thousand_is_bounded(desk: Desk) -> None:
    """A loop that alerts on every tick must not eat the memory of the process that trades."""
    recorder = desk.open()
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(10_000):
            desk.sender.notify(an_alert(f"{number}", text="x" * 1000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 5_000_000  # 10,000 kept would be more than twice that
    assert desk.sender.waiting == 100
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles[0] == "9900 alerts could not be delivered here"
    assert len(recorder.titles) == 101


async def test_ten_thousand_equal_alerts_are_one_message_and_one_digest(desk: Desk) -> None:
    """Repeats are counted, not sent."""
    recorder = desk.open()
    for _ in range(10_000):
        desk.sender.notify(an_alert("down", severity="critical"))
    assert await desk.sender.close(seconds=5) == 0
    assert [(queued.alert.title, queued.repeats) for batch in recorder.batches for queued in batch] == [
        ("down", 0),
        ("down", 9998),
    ]


async def test_a_digest_comes_by_itself_when_its_window_ends() -> None:
    """Nobody should have to wait for the next alert to learn of the last ones."""
    recorder = Recorder()
    recorder.gate.set()

    async def source() -> Sequence[Outlet]:
        return [Outlet(recorder)]

    sender = BackgroundSender(source, repeats=Repeats(first_window=0.02))
    for _ in range(3):
        sender.notify(an_alert("down"))
    async with asyncio.timeout(5):
        assert [(await recorder.arrived.get()).repeats for _ in range(2)] == [0, 1]
    await sender.close(seconds=1)


@pytest.mark.parametrize("error", [Unreachable("away"), RuntimeError("a bug"), ValueError("odd")])
async def test_no_exception_leaves_and_the_next_alert_gets_its_chance(desk: Desk, error: Exception) -> None:
    """A failed notification must not crash the desk, nor end all later ones (behaviour 25)."""
    recorder = desk.open()
    recorder.errors.append(error)
    desk.sender.notify(an_alert("lost"))
    await desk.sender.drain(seconds=5)
    assert desk.sender.lost == 1
    desk.sender.notify(an_alert("next"))
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles == ["1 alert could not be delivered here", "next"]


async def test_one_alert_that_the_service_refuses_does_not_take_its_neighbours_along(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten alerts share a message; one bad one must cost only itself."""
    recorder = desk.open(opened=False)
    recorder.errors = [Refused("recorder: HTTP 400: bad form body", status=400) for _ in range(2)]
    desk.sender.notify(an_alert("a"))
    desk.sender.notify(an_alert("b"))
    recorder.gate.set()
    with caplog.at_level(logging.WARNING):
        assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles == ["1 alert could not be delivered here", "b"]
    assert "bad form body" in caplog.text


async def test_a_revoked_address_is_left_alone_for_a_while(desk: Desk) -> None:
    """Discord bans an address that keeps asking with a wrong token."""
    recorder = desk.open()
    recorder.errors.append(Refused("recorder: HTTP 404: Unknown Webhook", status=404))
    desk.sender.notify(an_alert("a"))
    assert await desk.sender.drain(seconds=5) == 0
    desk.sender.notify(an_alert("b"))
    assert await desk.sender.drain(seconds=0.05) == 1
    assert recorder.titles == []


async def test_no_channel_means_off_and_is_said_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A desk without a webhook is fine; a log line for each alert is not (behaviour 25)."""
    with caplog.at_level(logging.INFO):
        for number in range(5):
            desk.sender.notify(an_alert(f"{number}"))
            assert await desk.sender.drain(seconds=5) == 0
    assert desk.asked == 5
    assert caplog.text.count("alerts are off") == 1
    assert desk.sender.lost == 0


async def test_an_edited_channel_takes_over_what_the_old_one_could_not_deliver(desk: Desk) -> None:
    """The webhook was wrong, somebody mends the block: the alerts that waited must come."""
    old = desk.open(opened=False)
    old.per_message = 1
    desk.sender.notify(an_alert("in flight"))
    await old.entered.wait()
    desk.sender.notify(an_alert("waits"))
    await asyncio.sleep(0)
    desk.channels.clear()
    new = desk.open()
    desk.sender.notify(an_alert("later"))
    assert await desk.sender.drain(seconds=5) == 0
    assert new.titles == ["in flight", "waits", "later"]
    assert desk.sender.lost == 0


async def test_of_a_batch_that_is_sent_one_by_one_only_the_rest_is_taken_over(desk: Desk) -> None:
    """What the service has taken must not come again with the new block."""
    old = desk.open(opened=False)
    for title in ("a", "b", "c"):
        desk.sender.notify(an_alert(title))
    await old.entered.wait()
    old.errors = [Refused("recorder: HTTP 400: bad form body", status=400)]
    send = old.send

    async def stalls_at_b(session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        if [queued.alert.title for queued in batch] == ["b"]:
            old.entered.clear()
            old.gate.clear()
        await send(session, batch)

    old.send = stalls_at_b  # pyright: ignore[reportAttributeAccessIssue]
    old.entered.clear()
    old.gate.set()
    async with asyncio.timeout(5):
        while old.gate.is_set():  # noqa: ASYNC110 - the channel of the test
            await asyncio.sleep(0)
        await old.entered.wait()
    desk.channels.clear()
    new = desk.open()
    desk.sender.notify(an_alert("later"))
    assert await desk.sender.drain(seconds=5) == 0
    assert (old.titles, new.titles) == (["a"], ["b", "c", "later"])


async def test_alerts_wait_while_the_channels_cannot_be_read(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Prefect's API may be what is down: the alert about it must not be thrown away."""
    recorder = desk.open()
    desk.source_error = ConnectionError("no route to api_key=K-123456")
    desk.sender.notify(an_alert("crashed"))
    with caplog.at_level(logging.WARNING):
        assert await desk.sender.drain(seconds=0.05) == 1
    assert "K-123456" not in caplog.text
    desk.source_error = None
    desk.sender._refresh_at = 0.0
    desk.sender.notify(an_alert("next"))
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles == ["crashed", "next"]


async def test_a_sender_works_again_after_its_close(desk: Desk) -> None:
    """A run drains and stops it; the next run of the same process wants its alerts too."""
    recorder = desk.open()
    for title in ("a", "b"):
        desk.sender.notify(an_alert(title))
        assert await desk.sender.close(seconds=5) == 0
    assert recorder.titles == ["a", "b"]


async def test_an_alert_that_comes_during_a_close_is_not_thrown_away(desk: Desk) -> None:
    """Two runs of one process end at about the same time."""
    recorder = desk.open()
    desk.sender.notify(an_alert("a"))
    await recorder.arrived.get()
    _, work = desk.sender._lanes[recorder.name]
    work.add_done_callback(lambda _: desk.sender.notify(an_alert("b")))
    await desk.sender.close(seconds=5)
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles == ["a", "b"]


async def test_an_alert_from_another_thread_is_delivered(desk: Desk) -> None:
    """Strategies may compute in a thread."""
    recorder = desk.open()
    thread = threading.Thread(target=desk.sender.notify, args=(an_alert("thread"),))
    thread.start()
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    assert await desk.sender.drain(seconds=5) == 0
    assert recorder.titles == ["thread"]


def test_an_alert_after_the_loop_has_ended_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The last words of a dying process must not become its error."""

    async def make() -> BackgroundSender:
        async def source() -> Sequence[Outlet]:
            return []

        return BackgroundSender(source)

    sender = asyncio.run(make())
    sender.notify(an_alert("late"))
    assert "alert not taken" in caplog.text


async def test_a_drain_that_is_canceled_is_canceled(desk: Desk) -> None:
    """A timeout around it must work."""
    desk.open(opened=False)
    desk.sender.notify(an_alert("a"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await desk.sender.drain(seconds=60)


def test_every_error_of_delivery_is_one_of_ours() -> None:
    """Callers that do wait for one message (Prefect's automations) catch NotDelivered alone."""
    assert issubclass(Refused, NotDelivered)
    assert issubclass(Unreachable, NotDelivered)


async def test_what_comes_while_an_alert_is_stamped_is_stamped_too() -> None:
    """Asking for an account's mode takes a moment, and a repeat of a live alert must not come without its mark."""
    recorder, asked, answer = Recorder(), asyncio.Event(), asyncio.Event()
    recorder.gate.set()

    async def source() -> Sequence[Outlet]:
        return [Outlet(recorder, LOUD)]

    async def stamp(alert: Alert) -> Alert:
        asked.set()
        await answer.wait()
        return alert if alert.title.startswith("LIVE") else replace(alert, title=f"LIVE {alert.title}")

    sender = BackgroundSender(source, stamp=stamp)
    sender.notify(an_alert("down"))
    await asked.wait()
    for title in ("down", "other"):
        sender.notify(an_alert(title))
    answer.set()
    assert await sender.close(seconds=5) == 0
    told = [(queued.alert.title, queued.repeats) for batch in recorder.batches for queued in batch]
    assert told == [("LIVE down", 0), ("LIVE other", 0), ("LIVE down", 0)]
