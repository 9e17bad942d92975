"""The guarded exchange: reads try again within their deadline, writes go out once, errors tell the truth."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.domain.order import Order
from kontor.errors import (
    AuthenticationFailed,
    ExchangeError,
    NotPlaced,
    NotSent,
    OnMaintenance,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Resend,
)
from kontor.exchange.guarded import GuardedExchange, Limits
from kontor.ports import Exchange
from kontor.resilience.backoff import Backoff
from kontor.resilience.clock import VirtualClock
from kontor.resilience.rate_budget import Priority

from .fakes import FakeExchange, fail, hang

Maker = Callable[..., Order]
BRIEF = Limits(write=timedelta(seconds=0.02), read=timedelta(seconds=0.02))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def inner() -> FakeExchange:
    return FakeExchange("okx")


@pytest.fixture
def guarded(inner: FakeExchange, clock: VirtualClock) -> GuardedExchange:
    return GuardedExchange(inner, clock=clock, backoff=Backoff(1.0, 10.0, random.Random(1)))


@pytest.fixture
def brief(inner: FakeExchange, clock: VirtualClock) -> GuardedExchange:
    return GuardedExchange(inner, clock=clock, limits=BRIEF)


def test_the_guard_is_an_exchange_itself(guarded: GuardedExchange, inner: FakeExchange) -> None:
    """Whoever holds a port cannot tell the difference."""
    exchange: Exchange = guarded
    assert exchange.profile == inner.profile


@pytest.mark.parametrize(
    "error", [ExchangeError("timeout"), NotSent("no connection"), RateLimited("slow"), OnMaintenance("later")]
)
async def test_a_read_is_tried_again_after_a_passing_error(
    guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock, error: ExchangeError
) -> None:
    """Most outages last seconds."""
    inner.behave = fail(error, error)
    reading = asyncio.create_task(guarded.fetch_balance())
    await clock.advance(20)
    assert (await reading).currency == "okx"
    assert inner.asked == ["fetch_balance"] * 3


@pytest.mark.parametrize("error", [Rejected("no"), AuthenticationFailed("key"), OrderNotFound("none")])
async def test_an_answer_is_not_asked_for_again(
    guarded: GuardedExchange, inner: FakeExchange, error: ExchangeError
) -> None:
    """The venue has spoken; asking again costs tokens and may lock a key."""
    inner.behave = fail(error)
    with pytest.raises(type(error)):
        await guarded.fetch_order("BTC/USD", client_order_id="k1")
    assert len(inner.asked) == 1


async def test_a_read_gives_up_after_its_attempts_with_the_last_error(
    guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock
) -> None:
    """The caller hears what was wrong, not that something was retried."""
    inner.behave = fail(*[ExchangeError(f"timeout {number}") for number in range(10)])
    reading = asyncio.create_task(guarded.fetch_tickers())
    await clock.advance(100)
    with pytest.raises(ExchangeError, match="timeout 3"):
        await reading
    assert len(inner.asked) == 4


async def test_a_retried_lookup_of_an_order_says_which_one(
    guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """While an outcome is unknown, these are the lines that say what the desk is doing about it."""
    caplog.set_level("INFO", logger="kontor")
    for read in (
        lambda: guarded.fetch_order("BTC/USD", client_order_id="k7abc"),
        lambda: guarded.fetch_fills("BTC/USD", venue_order_id="v9"),
        lambda: guarded.fetch_tickers(["BTC/USD"]),
    ):
        inner.behave = fail(NotSent("no connection"), OrderNotFound("gone"))
        reading = asyncio.ensure_future(read())
        await clock.advance(12)
        with pytest.raises(OrderNotFound):
            await reading
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("read_retried")]
    assert "read_retried operation=fetch_order client_order_id=k7abc attempt=1 error=no connection" in lines
    assert "read_retried operation=fetch_fills venue_order_id=v9 attempt=1 error=no connection" in lines
    assert "read_retried operation=fetch_tickers attempt=1 error=no connection" in lines


async def test_a_retry_after_is_waited_out(guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock) -> None:
    """The venue said when to come back."""
    inner.behave = fail(RateLimited("slow", retry_after=timedelta(seconds=7)))
    reading = asyncio.create_task(guarded.fetch_balance())
    await clock.advance(6.9)
    assert len(inner.asked) == 1
    await clock.advance(5)
    await reading
    assert len(inner.asked) == 2


@pytest.mark.parametrize("error", [NotSent("no"), RateLimited("slow"), NotPlaced("no"), OutcomeUnknown("?")])
async def test_a_create_is_never_tried_again_here(
    guarded: GuardedExchange, inner: FakeExchange, make_order: Maker, error: ExchangeError
) -> None:
    """Whether it may be sent again is for the one who keeps the books to decide."""
    inner.behave = fail(error)
    with pytest.raises(type(error)):
        await guarded.create_order(make_order())
    assert inner.asked == ["create_order"]


@pytest.mark.parametrize("error", [NotSent("no"), OutcomeUnknown("?"), OrderNotFound("gone")])
async def test_a_cancel_is_never_tried_again_here(
    guarded: GuardedExchange, inner: FakeExchange, error: ExchangeError
) -> None:
    """A cancel that fails is a question: somebody has to look."""
    inner.behave = fail(error)
    with pytest.raises(type(error)):
        await guarded.cancel_order("BTC/USD", client_order_id="k1")
    assert inner.asked == ["cancel_order"]


async def test_a_hanging_read_ends_at_its_deadline(brief: GuardedExchange, inner: FakeExchange) -> None:
    """A flow must not hang with its venue; a read has no outcome to be unknown."""
    inner.behave = hang()
    with pytest.raises(ExchangeError, match=r"okx fetch_positions: not done within 0\.02 s") as caught:
        await brief.fetch_positions()
    assert type(caught.value) is ExchangeError


async def test_a_create_that_hangs_on_the_wire_is_of_unknown_fate(
    brief: GuardedExchange, inner: FakeExchange, make_order: Maker
) -> None:
    """The venue may have it."""
    inner.behave = hang(sent=True)
    with pytest.raises(OutcomeUnknown, match="look it up"):
        await brief.create_order(make_order())


async def test_a_create_that_waited_for_its_turn_was_never_sent(
    brief: GuardedExchange, inner: FakeExchange, make_order: Maker
) -> None:
    """It may be sent again without a lookup; nothing has left this machine."""
    inner.behave = hang(sent=False)
    with pytest.raises(NotSent, match="nothing was sent") as caught:
        await brief.create_order(make_order())
    assert caught.value.resend is Resend.YES


async def test_a_hanging_batch_gives_every_order_its_error(
    brief: GuardedExchange, inner: FakeExchange, make_order: Maker
) -> None:
    """Errors are values there: one result per order."""
    inner.behave = hang(sent=True)
    results = await brief.create_orders([make_order(), make_order(client_order_id="k2")])
    assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]


async def test_a_hanging_cancel_is_of_unknown_outcome(brief: GuardedExchange, inner: FakeExchange) -> None:
    """Perhaps canceled, perhaps filled."""
    inner.behave = hang()
    with pytest.raises(OutcomeUnknown):
        await brief.cancel_order("BTC/USD", venue_order_id="1")


async def test_a_cancellation_of_the_caller_passes_through(guarded: GuardedExchange, inner: FakeExchange) -> None:
    """Whoever shuts down must not be answered with a retry."""
    inner.behave = hang()
    reading = asyncio.create_task(guarded.fetch_balance())
    await inner.called.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(inner.asked) == 1


async def test_every_call_carries_its_priority(
    guarded: GuardedExchange, inner: FakeExchange, make_order: Maker
) -> None:
    """Cancel before create before account before market data, and candles last."""
    await guarded.cancel_order("BTC/USD", client_order_id="k1")
    await guarded.create_order(make_order())
    await guarded.fetch_open_orders()
    await guarded.set_leverage("BTC/USD:USD", Decimal(3))
    await guarded.fetch_candles("BTC/USD", "1m", limit=3)
    await guarded.call("fetch_funding_rates")
    await guarded.fetch_candles("BTC/USD", "4h", limit=500)
    cancel, create, account, market_data, candles, history = Priority
    assert inner.priorities == [cancel, create, account, account, candles, market_data, history]


async def test_a_few_candles_missed_by_a_stream_do_not_wait_behind_hundreds(
    guarded: GuardedExchange, inner: FakeExchange, clock: VirtualClock
) -> None:
    """Catching up asks for as many as are kept, since a moment ago: what counts is how many can have come since."""
    await guarded.fetch_candles("BTC/USD", "1m", since=clock.now() - timedelta(minutes=3), limit=500)
    await guarded.fetch_candles("BTC/USD", "1m", since=clock.now() - timedelta(hours=3), limit=500)
    assert inner.priorities == [Priority.CANDLES, Priority.HISTORY]
