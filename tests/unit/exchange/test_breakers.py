"""Breakers inside the guarded exchange: one logical call counts once, refusals do not, groups do not share."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from kontor.domain.order import Order
from kontor.errors import (
    AuthenticationFailed,
    CircuitOpen,
    ExchangeError,
    InsufficientFunds,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from kontor.exchange.breakers import Breakers, NeverSent, verdict_on, verdict_on_results
from kontor.exchange.guarded import GuardedExchange, Limits
from kontor.resilience.backoff import Backoff
from kontor.resilience.circuit_breaker import BreakerPolicy, BreakerState, Verdict
from kontor.resilience.clock import VirtualClock
from kontor.resilience.rate_budget import Priority

from .fakes import FakeExchange, fail, hang

POLICY = BreakerPolicy(failures=3)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def inner() -> FakeExchange:
    return FakeExchange("okx")


@pytest.fixture
def guarded(inner: FakeExchange, clock: VirtualClock) -> GuardedExchange:
    limits = Limits(write=timedelta(seconds=0.02), read=timedelta(seconds=5), attempts=4)
    breakers = Breakers("okx", clock=clock, policy=POLICY)
    return GuardedExchange(
        inner, clock=clock, limits=limits, backoff=Backoff(0.001, 0.001, random.Random(1)), breakers=breakers
    )


async def failing_read(guarded: GuardedExchange, clock: VirtualClock) -> None:
    reading = asyncio.create_task(guarded.fetch_balance())
    await clock.advance(0.01)
    with pytest.raises(ExchangeError):
        await reading


async def test_a_read_counts_once_however_often_it_was_tried(
    guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock
) -> None:
    """Four tries of one call are one sign of trouble, not four."""
    inner.behave = fail(*[ExchangeError("502")] * 100)
    for count in (1, 2, 3):
        await failing_read(guarded, clock)
        assert guarded.breakers[Priority.ACCOUNT].status.failures == count
    assert len(inner.asked) == 12
    with pytest.raises(CircuitOpen, match="okx account is held back"):
        await guarded.fetch_positions()
    assert len(inner.asked) == 12


async def test_groups_do_not_hold_back_one_another(
    guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock
) -> None:
    """A cancel must get out while account polls fail."""
    inner.behave = fail(*[ExchangeError("502")] * 12)
    for _ in range(3):
        await failing_read(guarded, clock)
    await guarded.cancel_order("BTC/USD:USD", client_order_id="k1")
    await guarded.fetch_tickers()
    assert guarded.breakers[Priority.CANCEL].state is BreakerState.CLOSED


async def test_creates_that_time_out_open_the_orders_breaker_and_then_are_not_sent(
    guarded: GuardedExchange, inner: FakeExchange, make_order: Callable[..., Order]
) -> None:
    """Three unknown outcomes are enough to look up; a fourth is one order more to worry about."""
    inner.behave = hang()
    for _ in range(3):
        with pytest.raises(OutcomeUnknown):
            await guarded.create_order(make_order())
    with pytest.raises(NotSent, match="okx orders is held back"):
        await guarded.create_order(make_order())
    held = await guarded.create_orders([make_order(), make_order()])
    assert [type(each) for each in held] == [CircuitOpen, CircuitOpen]


@pytest.mark.parametrize("error", [Rejected("no"), InsufficientFunds("poor"), AuthenticationFailed("key")])
async def test_refusals_never_open_a_breaker(
    guarded: GuardedExchange, inner: FakeExchange, error: ExchangeError, make_order: Callable[..., Order]
) -> None:
    """They are the venue at work."""
    inner.behave = fail(*[error] * 10)
    for _ in range(10):
        with pytest.raises(type(error)):
            await guarded.create_order(make_order())
    assert guarded.breakers[Priority.CREATE].state is BreakerState.CLOSED


def test_what_counts_as_a_failure() -> None:
    """Of a batch, one answer is enough; of what was never sent, nothing is known."""
    unknown, refused = OutcomeUnknown("timeout"), Rejected("no")
    assert verdict_on(unknown) is verdict_on(NotSent("refused connection")) is Verdict.FAILURE
    assert verdict_on(RateLimited("slow")) is verdict_on(NeverSent("queue")) is Verdict.NOTHING
    assert verdict_on(ValueError("a bug of ours")) is Verdict.NOTHING
    assert verdict_on_results([unknown, refused]) is Verdict.SUCCESS
    assert verdict_on_results([unknown, unknown]) is Verdict.FAILURE
    assert verdict_on_results([RateLimited("slow"), RateLimited("slow")]) is Verdict.NOTHING
