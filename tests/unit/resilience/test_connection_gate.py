"""The gate before new connections: three tries at once, no storm however long it lasts, and back within seconds."""

import asyncio
import random
from itertools import pairwise

from kontor.resilience.circuit_breaker import BreakerState, BreakerStatus, Verdict
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
                gate.failed(url, permit, "503")


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
        assert all(breaker.state is BreakerState.CLOSED for breaker in gate.breakers)


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
        gate.failed(URLS[0], await gate.enter(URLS[0]), "reset")
    assert clock.monotonic() == 0
    gate.failed(URLS[0], await gate.enter(URLS[0]), "reset")
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
        gate.failed(URLS[0], await gate.enter(URLS[0]), "reset")
    waiter = asyncio.create_task(gate.enter(URLS[0]))
    await clock.sleep(10)
    [breaker] = gate.breakers
    assert breaker.state is BreakerState.HALF_OPEN
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    await clock.sleep(600)
    permit = await gate.enter(URLS[0])
    assert permit.is_probe
    permit.end(Verdict.SUCCESS)
    assert all(breaker.state is BreakerState.CLOSED for breaker in gate.breakers)


@in_virtual_time
async def test_a_dead_address_holds_back_no_other() -> None:
    """Candles and prices come from two addresses; with one of them gone for good the other reconnects at once."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock, budget=ConnectionBudget(clock=clock, limit=100), rng=random.Random(1))
    prices, candles = URLS[0], URLS[1]
    gate.connected(prices, await gate.enter(prices))
    dead = Away(clock, until=float("inf"))
    trying = asyncio.create_task(dead.connect(gate, candles))
    slowest = 0.0
    for _ in range(20):
        # An hour of it: the budget is never eaten up by the one that does not come through.
        await clock.sleep(180)
        gate.lost(prices, "gone")
        began = clock.monotonic()
        gate.connected(prices, await gate.enter(prices))
        slowest = max(slowest, clock.monotonic() - began)
    trying.cancel()
    assert slowest == 0
    assert max(sum(1 for at in dead.tries if start <= at < start + 600) for start in dead.tries) <= 67
    [well, ill] = gate.breakers
    assert well.state is BreakerState.CLOSED
    assert ill.state is not BreakerState.CLOSED
    assert [breaker.name for breaker in gate.breakers] == ["okx venue/public", "okx venue/business"]


@in_virtual_time
async def test_an_outage_in_which_one_address_dies_keeps_the_other_away_for_seconds_only() -> None:
    """Whichever it is: the one that was up last tries for all, the others have their turns."""
    clock = LoopClock()
    for dead, well in (URLS[:2], URLS[1::-1]):
        gate = ConnectionGate("okx", clock=clock, rng=random.Random(2))
        for url in URLS[:2]:
            gate.connected(url, await gate.enter(url))
            gate.lost(url, "gone")
            await clock.sleep(1)
        gone = asyncio.create_task(Away(clock, until=float("inf")).connect(gate, dead))
        back = Away(clock, until=clock.monotonic() + 120)
        await back.connect(gate, well)
        gone.cancel()
        assert back.back[well] - back.until < 60


@in_virtual_time
async def test_who_gets_through_takes_the_others_along() -> None:
    """Nobody waits out a pause of an outage that another socket knows to be over."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock, rng=random.Random(3))
    venue = Away(clock, until=120.0)
    await asyncio.gather(*(venue.connect(gate, url) for url in URLS))
    moments = sorted(venue.back.values())
    assert moments[-1] - moments[0] < 0.1
    after_start = [at for at in venue.tries if 20 < at < 120]
    pauses = [later - sooner for sooner, later in pairwise(after_start)]
    assert min(pauses) >= LONGEST_PAUSE


@in_virtual_time
async def test_people_are_told_of_the_stream_and_the_status_of_each_address() -> None:
    """One alert when a part of it is away, one when nothing is; a listen key is in neither."""
    clock, told = LoopClock(), list[BreakerStatus]()
    key = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
    urls = (f"wss://stream.venue.com:9443/ws/{key}?token={key}", "wss://stream.venue.com:9443/ws/0")
    gate = ConnectionGate("binance stream-account", clock=clock, on_change=told.append)
    for url in urls:
        for _ in range(3):
            gate.failed(url, await gate.enter(url), "503")
    assert [status.name for status in told] == [
        "binance stream-account stream.venue.com:9443/ws/...",
        "binance stream-account stream.venue.com:9443/ws/0",
    ]
    assert {(status.whole, status.is_news) for status in told} == {(gate.name, True)}
    told.clear()
    first, second = gate.breakers
    first.reset()
    assert [status.is_news for status in told] == [False]
    second.reset()
    assert told[-1].is_news
    assert key not in str(told)


@in_virtual_time
async def test_a_connection_that_never_reached_the_venue_counts_for_nothing_there() -> None:
    """A closed port is no connection: after an hour of it the whole budget is left."""
    clock = LoopClock()
    gate = ConnectionGate("okx", clock=clock)
    while clock.monotonic() < 3600:
        gate.failed(URLS[0], await gate.enter(URLS[0]), "refused", reached=False)
    assert gate.budget.left == gate.budget.limit
