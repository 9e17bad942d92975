"""Several processes, restarts and Prefect's automations together: what one channel is told on a day of flapping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from prefect.events.schemas.automations import EventTrigger, Posture

from kontor.config.alerts import ChannelRules
from kontor.notify import BackgroundSender, Outlet, StoredPacing, news
from kontor.notify.queued import Queued
from kontor.ports import Alert, DeskState
from kontor.store.memory import MemoryStore
from tasks.automations import watchwords
from tests.fakes.virtual_time import START, LoopClock, in_virtual_time

DAY = 24 * 3600
WATCHWORDS = watchwords("desk")
MOST = 20


@dataclass
class Service:
    """Where both processes' messages arrive, with their moments."""

    name: str = "discord"
    is_for_people: bool = True
    told: list[tuple[float, Queued]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [queued.alert.title for _, queued in self.told]

    def fit(self, waiting: list[Queued]) -> int:
        return len(waiting)

    async def send(self, session: object, batch: list[Queued]) -> None:
        del session
        self.told += [(asyncio.get_running_loop().time(), queued) for queued in batch]


@dataclass
class Shared:
    """The desk's store, which may be away."""

    clock: LoopClock
    store: MemoryStore = field(default_factory=MemoryStore)
    is_away: bool = False

    async def state(self) -> DeskState:
        if self.is_away:
            raise OSError("database is locked")
        return self.store.desk

    def pacing(self) -> StoredPacing:
        return StoredPacing(self.state, now=self.clock.now)


class Process:
    """A process of the desk: it has a sender of its own, and knows nothing of the other."""

    def __init__(self, service: Service, shared: Shared, rules: ChannelRules) -> None:
        async def source() -> Sequence[Outlet]:
            return [Outlet(service, rules)]

        clock = asyncio.get_running_loop().time
        self.sender = BackgroundSender(
            source,
            shared=shared.pacing(),
            monotonic=clock,
            moment=lambda: START.timestamp() + clock(),
            refresh_seconds=1e9,
        )


class Desk:
    """Two processes over one store, and what the automations of the server would send beside them."""

    def __init__(self, rules: ChannelRules | None = None) -> None:
        self.service, self.clock = Service(), LoopClock()
        self.shared, self.rules = Shared(self.clock), rules or ChannelRules()
        self.automations: list[str] = []
        self._fired: dict[tuple[str, str], datetime] = {}
        self.start()

    def start(self) -> None:
        self.processes = [Process(self.service, self.shared, self.rules) for _ in range(2)]

    async def restart(self, *, killed: bool = False) -> None:
        """New processes; those before ended as the supervisor asked them to, or died."""
        for process in self.processes:
            await process.sender.close(seconds=0 if killed else 5)
        self.start()

    def tell(self, process: int, alert: Alert) -> None:
        self.processes[process].sender.notify(alert)
        self.event(f"kontor.{alert.event}", f"kontor.account.{alert.account}")

    def event(self, name: str, resource: str) -> None:
        """Fire the automations as Prefect does: on the first, and then not within the trigger's time."""
        now = self.clock.now()
        for word in WATCHWORDS:
            trigger: EventTrigger = word.trigger
            if trigger.posture is not Posture.Reactive or name not in trigger.expect:
                continue
            key = word.name, resource if trigger.for_each else ""
            if key not in self._fired or now - self._fired[key] >= trigger.within:
                self._fired[key] = now
                self.automations.append(word.event)


@asynccontextmanager
async def a_desk(rules: ChannelRules | None = None) -> AsyncIterator[Desk]:
    desk = Desk(rules)
    try:
        yield desk
    finally:
        for process in desk.processes:
            await process.sender.close(seconds=0)


def flapping(at: datetime, *, is_bad: bool) -> Iterator[tuple[int, Alert]]:
    """What a venue that comes and goes makes of every part of a desk, by the process that tells it."""

    def failed(name: str, event: str = "flow.failed") -> Alert:
        return Alert(f"{name} failed", f"at {at:%H:%M}: no route", "warning", at, "paper", event=event)

    updaters = [f"update-{name}" for name in ("balance", "candles", "positions", "ranges", "tickers", "watchlist")]
    breakers, streams = ("okx rest", "okx orders", "okx candles"), ("okx stream-market", "okx stream-account")
    if is_bad:
        yield from ((number % 2, failed(name)) for number, name in enumerate(updaters))
        for which, name in product((0, 1), breakers):
            yield which, news.breaker_opened("paper", at, breaker=name, reason="x")
        yield from ((1, news.stream_degraded("paper", at, stream=s, reason="x")) for s in streams)
        yield 0, news.updaters_down("paper", at, reasons=dict.fromkeys(updaters, "no success"))
        for name in ("trend", "grid", "carry", "pairs", "breakout"):
            yield 1, Alert(f"Strategy {name} fails", "no candles", "critical", at, "paper", event="strategy.failed")
        yield 0, Alert("Rejected: buy 1 BTC", "x", "warning", at, "paper", event="order.rejected")
        yield 1, failed("market", "venue.maintenance")
        return
    yield from ((which, news.breaker_closed("paper", at, breaker=b)) for which in (0, 1) for b in breakers)
    yield from ((1, news.stream_recovered("paper", at, stream=s)) for s in streams)
    yield 0, news.updaters_up("paper", at, names=updaters)
    for name in ("trend", "grid", "carry", "pairs", "breakout"):
        yield 1, Alert(f"Strategy {name} works again", "It decided.", "info", at, "paper", event="strategy.recovered")


MUST = {
    "trading.halted": "Trading halted",
    "order.unknown": "Outcome unknown: buy 1 BTC/USD",
    "drift": "Reconciliation found differences",
}


NIGHT = {"start": "22:00", "end": "06:00"}


@pytest.mark.parametrize(("minutes", "quiet"), [(5, None), (90, None), (30, NIGHT)])
def test_a_day_of_flapping_is_twenty_messages_and_what_must_be_known_comes_at_once(minutes: int, quiet: Any) -> None:
    """Two processes, each restarted every three hours, and the automations; and a halt, drift and lost order in it."""
    in_virtual_time(flap_for_a_day)(minutes, ChannelRules.model_validate({"quiet_hours": quiet}))


async def flap_for_a_day(minutes: int, rules: ChannelRules) -> None:
    musts = {5 * 3600 + 60: "trading.halted", 13 * 3600: "order.unknown", 23 * 3600 + 120: "drift"}
    async with a_desk(rules) as desk:
        for second in range(0, DAY, 60):
            is_bad, is_change = second // (minutes * 60) % 2 == 0, second % (minutes * 60) == 0
            for process, alert in flapping(desk.clock.now(), is_bad=is_bad) if is_change else ():
                desk.tell(process, alert)
                if alert.event == "breaker.opened":
                    desk.event("kontor.breaker.opened", f"kontor.breaker.paper.{alert.title}")
            desk.event("prefect.flow-run.Late", f"prefect.flow-run.{second}")
            if second in musts:
                event = musts[second]
                desk.tell(0, Alert(MUST[event], "why", "critical", desk.clock.now(), "paper", event=event))
                await asyncio.sleep(1)
                assert MUST[event] in desk.service.titles
                await asyncio.sleep(59)
            else:
                await asyncio.sleep(60)
            if second and second % (3 * 3600) == 0:
                await desk.restart(killed=second % 2 == 0)
    # What comes at midnight belongs to the next day.
    told = [queued.alert.title for at, queued in desk.service.told if at < DAY]
    others = [title for title in told if title not in MUST.values()]
    assert len([title for title in desk.service.titles if title in MUST.values()]) == len(MUST)
    automations = [event for event in desk.automations if event not in MUST]
    assert 8 <= len(others) + len(automations) <= MOST, others
    assert "order.unknown" in desk.automations


@in_virtual_time
async def test_what_one_process_held_is_told_by_another_after_it_was_killed() -> None:
    """The digest is in the store: whoever comes next tells it, with what it holds itself."""
    async with a_desk() as desk:
        for number in range(8):
            desk.tell(0, Alert(f"flow {number} failed", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(1)
        assert len(desk.service.told) == 5
        await desk.restart(killed=True)
        desk.tell(1, Alert("flow 8 failed", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(300)
        assert desk.service.titles[5:] == ["4 alerts in one"]


@in_virtual_time
async def test_the_watch_tells_what_processes_left_that_are_no_more() -> None:
    """Nobody has news of its own, and the digest is due all the same."""
    async with a_desk() as desk:
        for number in range(8):
            desk.tell(0, Alert(f"flow {number} failed", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(1)
        await desk.restart(killed=True)
        desk.processes[1].sender.keep_looking()
        await asyncio.sleep(400)
        assert desk.service.titles[5:] == ["3 alerts in one"]


@in_virtual_time
async def test_the_same_alert_of_two_processes_is_one_message() -> None:
    """Both see the same breaker open."""
    async with a_desk() as desk:
        for process in (0, 1):
            desk.tell(process, news.breaker_opened("paper", START, breaker="okx rest", reason="5 timeouts"))
        await asyncio.sleep(30)
        assert len(desk.service.told) == 1
        await asyncio.sleep(60)
        assert [queued.repeats for _, queued in desk.service.told] == [0, 0]


@in_virtual_time
async def test_alerts_do_not_wait_for_a_store_that_is_away_and_nothing_is_forgotten_when_it_is_back() -> None:
    """The store being down is what people have to be told."""
    async with a_desk() as desk:
        for number in range(6):
            desk.tell(0, Alert(f"early {number}", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(1)
        assert len(desk.service.told) == 5
        desk.shared.is_away = True
        down = news.updaters_down("paper", START, reasons={"update-balance": "no store"})
        desk.tell(0, down)
        desk.tell(0, Alert("late", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(5)
        assert desk.service.titles[5:] == ["update-balance is down"]
        desk.shared.is_away = False
        desk.tell(0, Alert("later", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(300)
        assert desk.service.titles[6:] == ["3 alerts in one"]
        digest = desk.service.told[-1][1].alert
        assert digest.text.splitlines() == ["early 5", "late", "later"]


@in_virtual_time
async def test_a_trade_and_a_halt_ask_no_store() -> None:
    """Nothing that was told before can hold them back."""
    async with a_desk() as desk:
        desk.shared.is_away = True
        halt = news.trading_halted("paper", START, reason="lost 5 %", actor="monitor-risk")
        again = replace(halt, at=START + timedelta(seconds=9))
        for alert in (halt, again, Alert("Filled", "", "info", START, side="buy")):
            desk.tell(0, alert)
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert desk.service.titles == ["Trading halted", "Trading halted", "Filled"]
        assert not desk.processes[0].sender._decisions.is_alone


@in_virtual_time
async def test_no_secret_is_kept_with_what_waits() -> None:
    """The store is no encrypted block."""
    async with a_desk() as desk:
        for number in range(8):
            text = f"https://discord.com/api/webhooks/123/abc-token-{number} api_key=K-99887766"
            desk.tell(0, Alert(f"flow {number} failed", text, "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(1)
        kept = await desk.shared.store.desk.attribute("", "alerts_paced")
        assert kept is not None
        assert "flow 7 failed" in str(kept.value)
        assert "K-99887766" not in str(kept.value)
        assert "abc-token" not in str(kept.value)


@pytest.mark.parametrize("kept", [{"repeats": {"x": 1}, "channels": 5}, {"channels": {"discord": {"held": []}}}])
def test_what_another_version_kept_is_begun_afresh(kept: dict[str, Any]) -> None:
    """An upgrade may forget the pauses; it may not silence the desk, nor keep its workers apart for ever."""
    in_virtual_time(begin_after)(kept)


async def begin_after(kept: dict[str, Any]) -> None:
    async with a_desk() as desk:
        await desk.shared.store.desk.set_attribute("", "alerts_paced", kept, START)
        for number in range(8):
            desk.tell(number % 2, Alert(f"flow {number} failed", "x", "warning", START, "paper", event="flow.failed"))
        await asyncio.sleep(400)
        assert len(desk.service.told) == 6
        assert desk.service.titles[-1] == "3 alerts in one"
        assert not any(process.sender._decisions.is_alone for process in desk.processes)
