"""The rate budget: within its rate, by priority, and nothing lost to those who gave up."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kontor.resilience.clock import VirtualClock
from kontor.resilience.rate_budget import Priority, RateBudget

CANCEL, CREATE, ACCOUNT, MARKET_DATA, CANDLES, HISTORY = Priority


class Desk:
    """Callers of one budget, and the order in which they were served."""

    def __init__(self, per_second: float = 1, burst: float = 1) -> None:
        self.clock = VirtualClock()
        self.budget = RateBudget(per_second, burst, self.clock)
        self.served: list[tuple[str, float]] = []

    def ask(self, name: str, priority: Priority, cost: float = 1) -> "asyncio.Task[None]":
        async def caller() -> None:
            await self.budget.acquire(priority, cost)
            self.served.append((name, self.clock.monotonic()))

        return asyncio.create_task(caller())

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.served]


async def test_a_cancel_overtakes_everybody_who_waits() -> None:
    """With ccxt's own throttler a cancel waited 1.76 s behind 30 candle calls."""
    desk = Desk()
    desk.ask("first", CANCEL)
    for name in range(30):
        desk.ask(f"candles {name}", MARKET_DATA)
    await desk.clock.advance(0)
    desk.ask("balance", ACCOUNT)
    desk.ask("create", CREATE)
    desk.ask("cancel", CANCEL)
    await desk.clock.advance(3)
    assert desk.names[:4] == ["first", "cancel", "create", "balance"]


async def test_prices_overtake_a_history_that_fills_the_queue() -> None:
    """Ranges of 48 markets kept prices waiting for more than ten seconds, and a stream that caught up by REST stale."""
    desk = Desk(per_second=10, burst=10)
    for name in range(200):
        desk.ask(f"4h candles {name}", HISTORY)
    await desk.clock.advance(1)
    for name in range(5):
        desk.ask(f"newest candle {name}", CANDLES)
    desk.ask("tickers", MARKET_DATA)
    await desk.clock.advance(1)
    found = [name for name in desk.names if "4h" not in name]
    assert found.index("tickers") <= 1
    assert len(found) == 6


async def test_market_data_leaves_tokens_for_a_cancel() -> None:
    """An urgent request finds a token at once, even when polls have used all they may."""
    desk = Desk(per_second=1, burst=10)
    for name in range(100):
        desk.ask(f"candles {name}", MARKET_DATA)
    await desk.clock.advance(0)
    polls = len(desk.served)
    assert polls < 10
    desk.ask("cancel", CANCEL)
    await desk.clock.advance(0)
    assert desk.names[polls] == "cancel"
    assert desk.served[-1][1] == 0


async def test_equals_are_served_in_the_order_they_came() -> None:
    """Orders of one symbol keep their order."""
    desk = Desk()
    for name in "abcde":
        desk.ask(name, CREATE)
    await desk.clock.advance(10)
    assert "".join(desk.names) == "abcde"


async def test_a_canceled_waiter_has_taken_nothing() -> None:
    """Ccxt charges those who gave up; everybody behind them pays."""
    desk = Desk()
    desk.ask("first", CREATE)
    waiters = [desk.ask(f"impatient {name}", CREATE) for name in range(5)]
    desk.ask("patient", CREATE)
    await desk.clock.advance(0.1)
    for waiter in waiters:
        waiter.cancel()
    await desk.clock.advance(1.0)
    assert desk.names == ["first", "patient"]
    assert desk.budget.waiting == 0


async def test_the_waiter_behind_a_canceled_first_one_is_woken() -> None:
    """Nobody may sleep on because the one in front left."""
    desk = Desk()
    desk.ask("first", CREATE)
    leaving = desk.ask("leaving", CREATE)
    desk.ask("next", CREATE)
    await desk.clock.advance(0.999)
    leaving.cancel()
    await desk.clock.advance(0.1)
    assert desk.names == ["first", "next"]


async def test_a_pause_holds_everybody_and_the_longer_one_counts() -> None:
    """A Retry-After is meant for the whole account."""
    desk = Desk(per_second=10, burst=10)
    desk.budget.pause(5)
    desk.budget.pause(1)
    desk.ask("cancel", CANCEL)
    await desk.clock.advance(4.9)
    assert desk.served == []
    await desk.clock.advance(0.2)
    assert desk.names == ["cancel"]


async def test_a_cost_above_the_bucket_is_granted_and_paid_off() -> None:
    """Some requests weigh more than a second's worth; they must not wait forever."""
    desk = Desk(per_second=1, burst=2)
    desk.ask("heavy", CANCEL, 5)
    desk.ask("next", CANCEL, 1)
    await desk.clock.advance(3.9)
    assert desk.names == ["heavy"]
    await desk.clock.advance(0.2)
    assert desk.names == ["heavy", "next"]


def test_a_budget_that_grants_nothing_is_refused() -> None:
    """It would hang its first caller."""
    with pytest.raises(ValueError, match="grants nothing"):
        RateBudget(0, 1, VirtualClock())


REQUESTS = st.lists(
    st.tuples(st.floats(0, 5), st.sampled_from(Priority), st.floats(0.01, 3), st.booleans()), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(REQUESTS, st.floats(0.5, 20), st.floats(0.5, 10))
def test_the_rate_is_never_exceeded_and_everybody_is_served_in_the_end(
    requests: Sequence[tuple[float, Priority, float, bool]], per_second: float, burst: float
) -> None:
    """Whatever comes, in whatever order, with whoever giving up: no more than burst plus rate in any time."""

    async def run() -> None:
        desk = Desk(per_second, burst)
        costs = {}
        tasks = []
        for at, (pause, priority, cost, gives_up) in enumerate(requests):
            costs[str(at)] = cost
            tasks.append((desk.ask(str(at), priority, cost), gives_up))
            await desk.clock.advance(pause if at % 3 == 0 else 0)
            if gives_up:
                tasks[-1][0].cancel()
        await desk.clock.advance(sum(costs.values()) / per_second + burst / per_second + 1)
        assert all(task.done() for task, _ in tasks)
        heaviest = max(costs.values(), default=0)
        for start, (_, begin) in enumerate(desk.served):
            spent = 0.0
            for name, moment in desk.served[start:]:
                spent += costs[name]
                assert spent <= burst + (moment - begin) * per_second + heaviest + 1e-6
        assert desk.budget.waiting == 0

    asyncio.run(run())
