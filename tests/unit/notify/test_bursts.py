"""Ten thousand alerts against a service that counts: its limit is met at most once, and nothing is lost unsaid."""

import asyncio
import re
import time
import tracemalloc
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import orjson
import pytest

from kontor.config.alerts import ChannelRules, Grouping
from kontor.notify import BackgroundSender, Discord, Outlet, Telegram
from kontor.notify.delivery import Courier
from kontor.notify.queued import Queued
from kontor.notify.sender import CAPACITY
from kontor.notify.telegram import telegram_courier
from kontor.ports import Alert
from tests.fakes.virtual_time import in_virtual_time

ALERTS = 10_000
AT = datetime(2026, 1, 1, tzinfo=UTC)
LOUD = ChannelRules(grouping=Grouping(burst=1000))
# Five messages in two seconds for a webhook, twenty a minute for a bot in a group.
LIMITS = {"discord": (5, 2.0), "telegram": (20, 60.0)}


@dataclass
class Answer:
    """As much of an aiohttp response as a courier reads; it is its own body and its own context manager."""

    status: int
    headers: dict[str, str]
    body: bytes = b"{}"

    @property
    def content(self) -> Self:
        return self

    async def read(self, _limit: int) -> bytes:
        return self.body

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


@dataclass
class Service:
    """A chat service on the loop's own time, with a sliding limit that it announces in headers, or does not."""

    limit: tuple[int, float]
    announces: bool
    messages: list[str] = field(default_factory=list)
    refused: int = 0
    _recent: deque[float] = field(default_factory=deque)

    def post(self, _url: str, *, data: bytes, **_: Any) -> Answer:
        now, (allowed, window) = asyncio.get_running_loop().time(), self.limit
        while self._recent and now - self._recent[0] >= window:
            self._recent.popleft()
        if len(self._recent) >= allowed:
            self.refused += 1
            wait = self._recent[0] + window - now
            return Answer(429, {"Retry-After": f"{wait:.3f}"})
        self._recent.append(now)
        message = orjson.loads(data)
        shown = [embed["title"] for embed in message.get("embeds", ())]
        self.messages.append("\n".join(shown) or message["text"])
        left, resets_in = allowed - len(self._recent), self._recent[0] + window - now
        announced = {"X-RateLimit-Remaining": str(left), "X-RateLimit-Reset-After": f"{resets_in:.3f}"}
        return Answer(200, announced if self.announces else {})

    @property
    def numbers(self) -> list[int]:
        """The numbers of the alerts that arrived, in their order."""
        return [int(number) for number in re.findall(r"Alert (\d+)", "\n".join(self.messages))]

    @property
    def reported_lost(self) -> int:
        """How many alerts the channel was told to have missed."""
        return sum(map(int, re.findall(r"(\d+) alerts? could not be delivered here", "\n".join(self.messages))))


class Wired:
    """A channel whose messages go to the service, whatever session the sender has."""

    def __init__(self, channel: Discord | Telegram, service: Service) -> None:
        self._channel, self._service = channel, service
        self.name, self.is_for_people = channel.name, True

    def fit(self, waiting: list[Queued]) -> int:
        return self._channel.fit(waiting)

    async def send(self, session: object, batch: list[Queued]) -> None:
        del session
        await self._channel.send(self._service, batch)  # pyright: ignore[reportArgumentType]


def a_sender(kind: str, service: Service, rules: ChannelRules = LOUD) -> BackgroundSender:
    """A sender with one channel; everything on the loop's time."""
    clock = asyncio.get_running_loop().time
    if kind == "discord":
        url = "https://discord.com/api/webhooks/1/abcdef-token"
        channel: Discord | Telegram = Discord(url, courier=Courier("discord", monotonic=clock))
    else:
        channel = Telegram("123456:abcdef", "-100", courier=telegram_courier(monotonic=clock))
    wired = Wired(channel, service)

    async def source() -> Sequence[Outlet]:
        return [Outlet(wired, rules)]

    return BackgroundSender(source, monotonic=clock, moment=clock, refresh_seconds=1e9)


def an_alert(number: int, side: str | None = None) -> Alert:
    """A warning of its own; one with a side is a trade, which is never held back."""
    return Alert(f"Alert {number}", "x" * 200, "warning", AT, "paper", side=side, event="flow.failed")


KINDS = pytest.mark.parametrize(("kind", "announces"), [("discord", True), ("discord", False), ("telegram", False)])


@KINDS
def test_ten_thousand_at_once_are_bounded_and_the_loss_is_told(kind: str, *, announces: bool) -> None:
    """A loop that alerts on every tick: the newest arrive, the rest is a number, the service is asked too soon once."""
    in_virtual_time(at_once)(kind, announces=announces)


async def at_once(kind: str, *, announces: bool) -> None:
    service = Service(LIMITS[kind], announces)
    sender = a_sender(kind, service)
    tracemalloc.start()
    try:
        for number in range(ALERTS):
            sender.notify(an_alert(number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sender.waiting == CAPACITY
    assert held < 5_000_000
    assert await sender.close(seconds=3600) == 0
    assert service.refused <= (0 if announces else 1)
    assert service.numbers == list(range(ALERTS - CAPACITY, ALERTS))
    assert service.reported_lost == ALERTS - CAPACITY
    assert len(service.messages) > 2 * LIMITS[kind][0]


@KINDS
def test_a_burst_that_lasts_an_hour_meets_the_limit_once(kind: str, *, announces: bool) -> None:
    """Who is careful for ten minutes only is refused six times in an hour, and services ban for that."""
    in_virtual_time(for_an_hour)(kind, announces=announces)


async def for_an_hour(kind: str, *, announces: bool) -> None:
    service = Service(LIMITS[kind], announces)
    sender = a_sender(kind, service)
    for number in range(ALERTS):
        sender.notify(an_alert(number, side="buy"))
        await asyncio.sleep(3600 / ALERTS)
        assert sender.waiting <= CAPACITY
    assert await sender.close(seconds=3600) == 0
    assert service.refused <= (0 if announces else 1)
    assert len(service.numbers) + service.reported_lost == ALERTS
    assert service.numbers == sorted(service.numbers)


@pytest.mark.parametrize("seconds", [0, 600, 86_400])
def test_by_the_usual_rules_ten_thousand_different_alerts_are_a_few_messages(seconds: int) -> None:
    """However they are spread over a day; what is not shown one by one is counted in the digests, to the last."""
    in_virtual_time(by_the_usual_rules)(seconds)


async def by_the_usual_rules(seconds: int) -> None:
    service = Service(LIMITS["discord"], announces=False)
    sender = a_sender("discord", service, ChannelRules())
    for number in range(ALERTS):
        sender.notify(an_alert(number))
        await asyncio.sleep(seconds / ALERTS)
    assert await sender.close(seconds=60) == 0
    together = sum(map(int, re.findall(r"(\d+) alerts in one", "\n".join(service.messages))))
    assert len(service.numbers) + together + service.reported_lost == ALERTS
    assert len(service.messages) <= 20
    assert service.refused <= 1


@in_virtual_time
async def test_ten_thousand_of_the_same_are_counted_to_the_last() -> None:
    """One message at once, and how often it came again in digests that come ever more seldom."""
    service = Service(LIMITS["telegram"], announces=False)
    sender = a_sender("telegram", service, ChannelRules())
    alert = an_alert(1)
    for _ in range(ALERTS):
        sender.notify(alert)
        await asyncio.sleep(86_400 / ALERTS)
    await sender.close(seconds=60)
    again = sum(map(int, re.findall(r"(\d+) more of these", "\n".join(service.messages))))
    assert again + len(service.messages) == ALERTS
    assert len(service.messages) <= 9


@in_virtual_time
async def test_notify_costs_its_caller_microseconds_while_the_service_refuses_everything() -> None:
    """What an order's process pays for an alert does not depend on what becomes of it."""
    service = Service((1, 1e9), announces=False)
    sender = a_sender("discord", service)
    for number in range(2):
        sender.notify(an_alert(number))
        await asyncio.sleep(5)
    began = time.perf_counter()
    for number in range(2, ALERTS):
        sender.notify(an_alert(number))
    took = time.perf_counter() - began
    assert await sender.close(seconds=0) >= CAPACITY
    assert service.refused == 1
    assert took / ALERTS < 0.001
