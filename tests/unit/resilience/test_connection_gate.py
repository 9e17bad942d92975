"""The gate before new connections: three tries at once, no storm however long it lasts, and back within seconds."""

import asyncio
import random

from kontor.resilience.circuit_breaker import BreakerState, Verdict
from kontor.resilience.connection_budget import ConnectionBudget
from kontor.resilience.connection_gate import LONGEST_PAUSE, ConnectionGate
from tests.fakes.virtual_time import LoopClock, in_virtual_time

URLS = ("ws://venue/public", "ws://venue/business", "ws://venue/private")


class Away:
    """A venue that cannot be connected to until a moment."""

    def __init__(self, clock: LoopClock, until: float) -> None:
        self.clock, self.until = clock, until
        self.tries: list[float] = []
        self.back: dict[str, float] = {}

    async def connect(self, gate: ConnectionGate, url: str) -> None:
        """As a stream does it: again and again."""
        while url not in self.back:
            permit = await gate.enter(url)
            self.tries.append(self.clock.monotonic())
            await self.clock.sleep(0.01)
            if self.clock.monotonic() >= self.until:
                self.back[url] = self.clock.monotonic()
                gate.connected(url, permit)
            else:
                gate.failed(permit, "503")


@in_virtual_time
async def test_refused_connections_make_no_storm_and_end_within_seconds() -> None:
    """Three sockets, minutes of refusals: within the budget, and everybody back within 5 s of the end."""
    clock = LoopClock()
    for minutes in (1, 5, 8):
        budget = ConnectionBudget(clock=clock)
        gate = ConnectionGate("okx", clock=clock, budget=budget, rng=random.Random(minutes))
        venue = Away(clock, clock.monotonic() + minutes * 60.0)
        await asyncio.gather(*(venue.connect(gate, url) for url in URLS))
        assert len(venue.tries) <= 150
        assert max(venue.back.values()) - venue.until < 5
        assert gate.breaker.state is BreakerState.CLOSED


@in_virtual_time
async def test_after_a_long_outage_nobody_waits_for_minutes() -> None:
    """A budget that is used up early leaves the desk blind although the venue is back: its last part is spread."""
    clock = LoopClock()
    for minutes in (6, 12, 25):
        budget = ConnectionBudget(clock=clock, limit=75)
        gate = ConnectionGate("okx", clock=clock, budget=budget, rng=random.Random(minutes))
        venue = Away(clock, clock.monotonic() + minutes * 60.0)
        await asyncio.gather(*(venue.connect(gate, url) for url in URLS))
        tries = venue.tries
        assert max(sum(1 for at in tries if start <= at < start + 600) for start in tries) <= 75
        assert min(venue.back.values()) - venue.until < 60
        assert max(venue.back.values()) - venue.until < 90


@in_virtual_time
async def test_the_first_three_tries_come_at_once() -> None:
    """Most losses are over by the time one looks."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock)
    for _ in range(3):
        gate.failed(await gate.enter(URLS[0]), "reset")
    assert clock.monotonic() == 0
    gate.failed(await gate.enter(URLS[0]), "reset")
    assert 1.0 <= clock.monotonic() <= 1.1


@in_virtual_time
async def test_a_clean_close_backs_off_too() -> None:
    """A venue that accepts and closes, accepts and closes, must not be met ten times a second."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock)
    moments = []
    while clock.monotonic() < 600:
        gate.connected(URLS[0], await gate.enter(URLS[0]))
        moments.append(clock.monotonic())
        gate.lost(URLS[0], "closed by the venue with code 1000")
    assert moments[:3] == [0, 0, 0]
    assert len(moments) <= gate.budget.limit + 1
    assert gate.pause_before(URLS[0]) <= LONGEST_PAUSE


@in_virtual_time
async def test_a_steady_connection_earns_its_instant_tries_back() -> None:
    """One loss a day is met by an instant reconnect."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock)
    for _ in range(6):
        gate.connected(URLS[0], await gate.enter(URLS[0]))
        gate.lost(URLS[0], "gone")
    assert gate.pause_before(URLS[0]) > 0
    gate.connected(URLS[0], await gate.enter(URLS[0]))
    await clock.sleep(60)
    gate.lost(URLS[0], "gone")
    assert gate.pause_before(URLS[0]) == 0


@in_virtual_time
async def test_one_who_is_canceled_at_the_gate_blocks_nobody() -> None:
    """Streams are stopped while they wait: neither a probe's place nor a connection may be lost with them."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock, budget=ConnectionBudget(clock=clock, limit=3, seconds=600))
    for _ in range(3):
        gate.failed(await gate.enter(URLS[0]), "reset")
    waiter = asyncio.create_task(gate.enter(URLS[0]))
    await clock.sleep(10)
    assert gate.breaker.state is BreakerState.HALF_OPEN
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    await clock.sleep(600)
    permit = await gate.enter(URLS[1])
    assert permit.is_probe
    permit.end(Verdict.SUCCESS)
    assert gate.breaker.state is BreakerState.CLOSED
