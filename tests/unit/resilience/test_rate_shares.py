"""Several processes, one limit: who gets what, and that the parts never add up to more than the whole."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from kontor.errors import StoreUnavailable
from kontor.ports import DeskState
from kontor.resilience.budget_keeper import GRANT_SECONDS, BudgetKeeper
from kontor.resilience.budget_state import RATE_BUDGETS, load_budgets, rows_of
from kontor.resilience.rate_budget import Priority, RateBudget
from kontor.resilience.rate_shares import EXPECTED, FLOOR, REMEMBERED, SILENT
from kontor.store.memory import MemoryStore
from tests.fakes.virtual_time import LoopClock, in_virtual_time

LIMIT = 20.0
ACCOUNT = "paper"


class Broken(Exception):
    """Anything but what a store is known to raise."""


@dataclass
class Venue:
    """One exchange with one limit for the account, and what has arrived there."""

    state: Any = field(default_factory=lambda: MemoryStore().desk)
    clock: LoopClock = field(default_factory=LoopClock)
    requests: list[tuple[float, str]] = field(default_factory=list)

    async def process(self, name: str) -> Process:
        made = Process(self, name)
        await made.keeper.join()
        made.task = asyncio.create_task(made.keeper.keep())
        return made

    def count(self, name: str, since: float) -> int:
        return sum(at >= since and who == name for at, who in self.requests)

    def worst(self) -> float:
        """By how much any stretch of time held more requests than one bucket and one rate allow."""
        moments = [at for at, _ in self.requests]
        return max(
            (last - first + 1) - (LIMIT + LIMIT * (moments[last] - moments[first]))
            for first in range(len(moments))
            for last in range(first, len(moments))
        )


class Process:
    """A process of the desk: its budget, its keeper, and what it wants to send."""

    def __init__(self, venue: Venue, name: str) -> None:
        self.venue, self.name = venue, name
        self.budget = RateBudget(LIMIT, LIMIT, venue.clock)
        self.keeper = BudgetKeeper(venue.state, ACCOUNT, name, self.budget, venue.clock)
        self.task: asyncio.Task[None] | None = None
        self.sending: set[asyncio.Task[None]] = set()

    async def send(self, priority: Priority) -> float:
        """One request; how long it had to wait."""
        began = self.venue.clock.monotonic()
        await self.budget.acquire(priority)
        self.venue.requests.append((self.venue.clock.monotonic(), self.name))
        return self.venue.clock.monotonic() - began

    def flood(self, priority: Priority, callers: int = 20) -> None:
        """Want more than there is, for ever."""

        async def caller() -> None:
            while True:
                await self.send(priority)

        self.sending |= {asyncio.create_task(caller()) for _ in range(callers)}

    def calm(self) -> None:
        for task in self.sending:
            task.cancel()
        self.sending.clear()

    def die(self) -> None:
        """Killed: no last word."""
        self.calm()
        if self.task is not None:
            self.task.cancel()


@in_virtual_time
async def test_two_processes_that_want_all_of_it_stay_within_one_limit() -> None:
    """Each with a budget of its own sent twice what the exchange allows."""
    venue = Venue()
    orders, updates = await venue.process("orders"), await venue.process("updates")
    orders.flood(Priority.CREATE)
    updates.flood(Priority.MARKET_DATA)
    await asyncio.sleep(30)
    # Two processes may each be one heavy request ahead of their bucket.
    assert venue.worst() <= 2
    assert len(venue.requests) >= 0.9 * 30 * LIMIT
    # Orders go first, and polls are not starved.
    assert venue.count("orders", 10) >= 0.8 * 20 * LIMIT
    assert venue.count("updates", 10) >= 0.8 * FLOOR * 20 * LIMIT


@in_virtual_time
async def test_what_orders_leave_unused_the_updates_have_and_orders_get_it_back_within_seconds() -> None:
    """The candles of the first run need nearly all there is; a desk that starts sends no orders yet."""
    venue = Venue()
    orders, updates = await venue.process("orders"), await venue.process("updates")
    updates.flood(Priority.MARKET_DATA)
    await asyncio.sleep(20)
    assert venue.count("updates", 5) >= 0.88 * 15 * LIMIT
    # A basket of orders out of the blue: half of a bucket goes out at once.
    waits = await asyncio.gather(*(orders.send(Priority.CREATE) for _ in range(10)))
    assert sorted(waits)[8] < 0.01
    orders.flood(Priority.CREATE)
    since = venue.clock.monotonic() + 3
    await asyncio.sleep(13)
    assert venue.count("orders", since) >= 0.8 * 10 * LIMIT
    assert venue.worst() <= 2


@in_virtual_time
async def test_the_first_process_need_not_wait_for_one_that_may_never_come() -> None:
    """A single flow started by hand is the whole desk."""
    venue = Venue()
    began = venue.clock.monotonic()
    alone = await venue.process("by hand")
    assert venue.clock.monotonic() == began
    assert alone.budget.share.rate == pytest.approx(1 - FLOOR)
    assert alone.budget.tokens == alone.budget.burst == LIMIT / EXPECTED


@in_virtual_time
async def test_a_pause_that_one_process_was_asked_for_holds_the_other_within_a_second() -> None:
    """A 429 is meant for the account: who goes on sending is banned for longer."""
    venue = Venue()
    orders, updates = await venue.process("orders"), await venue.process("updates")
    await asyncio.sleep(3)
    orders.flood(Priority.CREATE)
    await asyncio.sleep(3.3)
    asked_at = venue.clock.monotonic()
    updates.budget.pause(30)
    await asyncio.sleep(40)
    held = [at for at, _ in venue.requests if asked_at + 1.1 < at < asked_at + 29.5]
    assert held == []
    assert venue.count("orders", asked_at + 30.5) > 0
    # It ended when it should: it does not grow by being told on.
    assert min(at for at, _ in venue.requests if at > asked_at + 2) < asked_at + 30.5
    assert orders.budget.paused_for == updates.budget.paused_for == 0


@in_virtual_time
async def test_a_process_that_starts_during_a_pause_keeps_it() -> None:
    """A worker that is started again after a 429 must not begin with a burst, even when who was asked is gone."""
    venue = Venue()
    first = await venue.process("first")
    await asyncio.sleep(1)
    first.budget.pause(300)
    await asyncio.sleep(2)
    first.die()
    await asyncio.sleep(REMEMBERED.total_seconds() + 5)
    second = await venue.process("second")
    second.flood(Priority.CANCEL)
    await asyncio.sleep(100)
    assert venue.requests == []
    await asyncio.sleep(100)
    assert venue.requests


@in_virtual_time
async def test_what_a_killed_process_held_goes_to_the_others_and_to_its_successor() -> None:
    """Kill -9 says nothing, and the next one begins seconds later."""
    venue = Venue()
    orders, updates = await venue.process("orders:1"), await venue.process("updates:1")
    updates.flood(Priority.MARKET_DATA)
    orders.flood(Priority.ACCOUNT, callers=1)
    await asyncio.sleep(10)
    updates.die()
    await asyncio.sleep(3)
    following = await venue.process("updates:2")
    following.flood(Priority.MARKET_DATA)
    await asyncio.sleep(SILENT.total_seconds() + 4)
    since = venue.clock.monotonic()
    await asyncio.sleep(10)
    assert venue.count("updates:2", since) + venue.count("orders:1", since) >= 0.85 * 10 * LIMIT
    assert venue.worst() <= 3


class Fragile:
    """A store that can be away."""

    def __init__(self, inner: DeskState) -> None:
        self.inner, self.is_away = inner, False
        self.error: Exception = StoreUnavailable("the disk is full")

    async def attribute(self, *args: Any) -> Any:
        return await self._through(self.inner.attribute, *args)

    async def update_attribute(self, *args: Any, **more: Any) -> Any:
        return await self._through(self.inner.update_attribute, *args, **more)

    async def _through(self, call: Any, *args: Any, **more: Any) -> Any:
        if self.is_away:
            raise self.error
        return await call(*args, **more)


@in_virtual_time
async def test_while_the_store_is_away_nobody_waits_for_it_and_the_floor_is_left() -> None:
    """Cancels go out without the store; others may have taken the share of a process that says nothing."""
    venue = Venue()
    fragile = venue.state = Fragile(venue.state)
    updates = await venue.process("updates")
    for error in (StoreUnavailable("the disk is full"), Broken("a row of another version")):
        fragile.error, fragile.is_away = error, True
        await asyncio.sleep(GRANT_SECONDS + 1)
        assert updates.budget.share.rate == pytest.approx(FLOOR)
        assert await updates.send(Priority.CANCEL) == 0
        fragile.is_away = False
        await asyncio.sleep(3)
        assert updates.budget.share.rate > 0.5


@in_virtual_time
async def test_a_process_that_ends_in_good_order_leaves_its_share_at_once_and_no_row_for_ever() -> None:
    """Runs by hand come and go."""
    venue = Venue()
    await venue.process("updates")
    for number in range(5):
        one = await venue.process(f"run {number}")
        one.die()
        await one.keeper.leave()
    await asyncio.sleep(15)
    assert [each.process for each in await load_budgets(venue.state, ACCOUNT, venue.clock.now())] == ["updates"]
    found = await venue.state.attribute(ACCOUNT, RATE_BUDGETS)
    assert set(found.value) == {"updates"}


@pytest.mark.parametrize("seed", range(6))
def test_however_they_come_go_and_fall_silent_the_sum_stays_within_the_limit(seed: int) -> None:
    """A random night: starts, ends, kills, pauses of a whole process, and floods."""

    async def night() -> None:
        rng, venue = random.Random(seed), Venue()
        there: list[Process] = []
        for number in range(40):
            what = rng.random()
            if len(there) < 2 or (what < 0.25 and len(there) < 5):
                there.append(await venue.process(f"process {number}"))
            elif what < 0.4:
                gone = there.pop(rng.randrange(len(there)))
                gone.die()
                if rng.random() < 0.5:
                    await gone.keeper.leave()
            one = rng.choice(there)
            if rng.random() < 0.4:
                one.calm()
            else:
                one.flood(rng.choice(list(Priority)), 4)
            for _ in range(8):
                await asyncio.sleep(rng.uniform(0, 1.5) / 8)
                assert sum(each.budget.share.rate for each in there) <= 1 + 1e-9
                assert sum(each.budget.share.burst for each in there) <= 1 + 1e-9
        assert len(rows_of((await venue.state.attribute(ACCOUNT, RATE_BUDGETS)).value)) < 40
        assert venue.worst() <= 5
        for each in there:
            each.die()

    in_virtual_time(night)()


@in_virtual_time
async def test_a_frozen_process_wakes_within_what_is_left_to_it() -> None:
    """SIGSTOP, a laptop's lid: whoever took its share meanwhile holds it."""
    venue = Venue()
    frozen, other = await venue.process("frozen"), await venue.process("other")
    await asyncio.sleep(3)
    assert frozen.task is not None
    frozen.task.cancel()
    other.flood(Priority.MARKET_DATA)
    await asyncio.sleep(SILENT.total_seconds() + timedelta(seconds=5).total_seconds())
    frozen.flood(Priority.CREATE)
    frozen.task = asyncio.create_task(frozen.keeper.keep())
    assert frozen.budget.share.rate + other.budget.share.rate <= 1
    await asyncio.sleep(10)
    assert venue.worst() <= 2
