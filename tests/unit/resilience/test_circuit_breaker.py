"""The circuit breaker: opens after failures in a row, lets few through to find out, and believes only fresh results."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kontor.errors import CircuitOpen, Resend
from kontor.resilience.circuit_breaker import (
    BreakerPolicy,
    BreakerState,
    BreakerStatus,
    CircuitBreaker,
    Permit,
    Verdict,
)
from kontor.resilience.clock import VirtualClock

POLICY = BreakerPolicy(failures=3, pause=1.0, longest_pause=4.0, probes=1, successes=2)


class Breaking(Exception):
    """The other side is down."""


class Refused(Exception):
    """The other side answered with no."""


def judge(error: BaseException) -> Verdict:
    return Verdict.SUCCESS if isinstance(error, Refused) else Verdict.FAILURE


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def told() -> list[BreakerStatus]:
    return []


@pytest.fixture
def breaker(clock: VirtualClock, told: list[BreakerStatus]) -> CircuitBreaker:
    return CircuitBreaker("okx orders", clock=clock, policy=POLICY, on_change=told.append)


def fail(breaker: CircuitBreaker, times: int = 1, error: Exception | None = None) -> None:
    for _ in range(times):
        with pytest.raises((Breaking, Refused)), breaker.guard(judge):
            raise error or Breaking("down")


def succeed(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with breaker.guard(judge):
            pass


def test_circuit_breaker_opens_after_threshold_failures(breaker: CircuitBreaker, told: list[BreakerStatus]) -> None:
    """Testing requirement 3 of the best-practices document."""
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    with pytest.raises(
        CircuitOpen, match=r"okx orders is held back for another 1\.0 s, nothing was sent: down"
    ) as held:
        breaker.admit()
    assert held.value.retry_after == timedelta(seconds=1)
    # For an order it means: never sent, send it again.
    assert held.value.resend is Resend.YES
    assert [status.state for status in told] == [BreakerState.OPEN]


def test_a_success_forgets_failures(breaker: CircuitBreaker) -> None:
    """Five errors spread over a day are no outage."""
    for _ in range(5):
        fail(breaker, 2)
        succeed(breaker)
    assert breaker.state is BreakerState.CLOSED


def test_a_refusal_counts_as_an_answer(breaker: CircuitBreaker) -> None:
    """A strategy that sends nonsense must not take the venue away from everybody."""
    fail(breaker, 2)
    fail(breaker, 5, Refused("no funds"))
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


async def test_half_open_lets_one_through_and_closes_after_two_successes(
    breaker: CircuitBreaker, clock: VirtualClock
) -> None:
    """A venue that comes back must not be met by everybody at once, nor be believed after one lucky answer."""
    fail(breaker, 3)
    await clock.advance(1)
    probe = breaker.admit()
    assert breaker.state is BreakerState.HALF_OPEN
    assert probe.is_probe
    with pytest.raises(CircuitOpen, match="being tried out"):
        breaker.admit()
    probe.end(Verdict.SUCCESS)
    assert breaker.state is BreakerState.HALF_OPEN
    succeed(breaker)
    assert breaker.state is BreakerState.CLOSED
    succeed(breaker, 10)


async def test_a_failed_probe_opens_it_again_for_longer_up_to_the_longest(
    breaker: CircuitBreaker, clock: VirtualClock
) -> None:
    """Pauses grow, and stay short enough to notice within seconds that the venue is back."""
    fail(breaker, 3)
    for pause in (1, 2, 4, 4, 4):
        await clock.advance(pause - 0.01)
        with pytest.raises(CircuitOpen):
            breaker.admit()
        await clock.advance(0.01)
        fail(breaker)
    await clock.advance(4)
    succeed(breaker, 2)
    fail(breaker, 3)
    with pytest.raises(CircuitOpen) as held:
        breaker.admit()
    assert held.value.retry_after == timedelta(seconds=1)


async def test_a_canceled_probe_gives_its_place_back(breaker: CircuitBreaker, clock: VirtualClock) -> None:
    """Otherwise a flow's timeout during the one probe would keep the breaker half-open for ever."""
    fail(breaker, 3)
    await clock.advance(1)
    with pytest.raises(asyncio.CancelledError), breaker.guard(judge):
        raise asyncio.CancelledError
    assert breaker.state is BreakerState.HALF_OPEN
    succeed(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


async def test_results_of_an_earlier_generation_are_ignored(breaker: CircuitBreaker, clock: VirtualClock) -> None:
    """A call that hung through the outage says nothing about now, whichever way it ends."""
    slow_failure, slow_success = breaker.admit(), breaker.admit()
    fail(breaker, 3)
    slow_success.end(Verdict.SUCCESS)
    assert breaker.state is BreakerState.OPEN
    await clock.advance(1)
    probe = breaker.admit()
    slow_failure.end(Verdict.FAILURE)
    assert breaker.state is BreakerState.HALF_OPEN
    probe.end(Verdict.SUCCESS)
    succeed(breaker)
    assert breaker.state is BreakerState.CLOSED


async def test_a_permit_counts_once(breaker: CircuitBreaker, clock: VirtualClock) -> None:
    """The batch's own verdict and the end of its block are one call."""
    permit = breaker.admit()
    for _ in range(5):
        permit.end(Verdict.FAILURE)
    assert breaker.status.failures == 1
    fail(breaker, 2)
    await clock.advance(1)
    assert breaker.status.retry_at == clock.now()


def test_reset_closes_it_at_once_and_drops_what_is_under_way(
    breaker: CircuitBreaker, told: list[BreakerStatus]
) -> None:
    """A person who knows better must not have to wait."""
    late = breaker.admit()
    fail(breaker, 3)
    breaker.reset()
    late.end(Verdict.FAILURE)
    assert breaker.status.failures == 0
    assert [status.state for status in told] == [BreakerState.OPEN, BreakerState.CLOSED]
    breaker.reset()
    assert len(told) == 2


class AgainstAModel(RuleBasedStateMachine):
    """Any order of calls, results, cancellations and time: never more probes than allowed, never stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.breaker = CircuitBreaker("walk", clock=self.clock, policy=POLICY)
        self.under_way: list[tuple[Permit, int]] = []
        self.changes = 0
        self.breaker._on_change = lambda _: setattr(self, "changes", self.changes + 1)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock._elapsed += seconds

    @rule()
    def somebody_calls(self) -> None:
        with suppress(CircuitOpen):
            permit = self.breaker.admit()
            self.under_way.append((permit, self.changes))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), verdict=st.sampled_from(list(Verdict)))
    def a_call_ends(self, data: st.DataObject, verdict: Verdict) -> None:
        permit, began = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.breaker.status
        permit.end(verdict)
        if began != self.changes and self.breaker.status != before:
            # The change of state happened by this very result, so the call was a current one.
            assert began == self.changes - 1

    @invariant()
    def probes_are_limited(self) -> None:
        if self.breaker.state is BreakerState.HALF_OPEN:
            current = [permit for permit, began in self.under_way if began == self.changes and permit.is_probe]
            assert len(current) <= POLICY.probes
            assert self.breaker._probes == len(current)

    @invariant()
    def it_always_comes_back(self) -> None:
        if self.breaker.state is BreakerState.OPEN:
            # Seconds are sums of floats: 4.000000000000001 is no longer pause.
            assert self.breaker._seconds_left() <= POLICY.longest_pause + 1e-9


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
