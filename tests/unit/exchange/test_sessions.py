"""Sessions: one exchange per account and process, replaced without anybody noticing."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from kontor.errors import ConfigError, ExchangeError
from kontor.exchange.adapter import CcxtExchange
from kontor.exchange.opening import budget_of, open_streams
from kontor.exchange.sessions import RETRY_SECONDS, SessionPool
from kontor.ports import Exchange, ExchangeSettings
from kontor.resilience.clock import VirtualClock
from kontor.resilience.connection_gate import ConnectionGate
from kontor.resilience.rate_budget import Priority, RateBudget

from .fakes import Behaviour, FakeExchange, fail

PAPER = ExchangeSettings("okx", "paper", api_key="old")


class Venue:
    """Opens fake exchanges and keeps them in sight; `behave` is given to the next ones."""

    def __init__(self) -> None:
        self.opened: list[FakeExchange] = []
        self.donors: list[list[str]] = []
        self.behave: Behaviour | None = None
        self.refuses: Exception | None = None
        self.permissions = frozenset({"read", "trade"})
        self._opened: asyncio.Queue[FakeExchange] = asyncio.Queue()

    async def opens(self, count: int) -> None:
        """Wait until so many have been opened in all."""
        while len(self.opened) < count or not self._opened.empty():
            await self._opened.get()

    def open(self, settings: ExchangeSettings, donors: Sequence[Exchange]) -> FakeExchange:
        if self.refuses is not None:
            raise self.refuses
        exchange = FakeExchange(f"{settings.account} {len(self.opened)} {settings.api_key}", self.permissions)
        exchange.behave = self.behave
        self.opened.append(exchange)
        self._opened.put_nowait(exchange)
        self.donors.append([donor.profile.exchange_id for donor in donors])
        return exchange


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def pool(venue: Venue, clock: VirtualClock) -> SessionPool:
    return SessionPool(clock=clock, opener=venue.open)


async def test_runs_of_one_process_share_a_client(pool: SessionPool, venue: Venue) -> None:
    """Opened once, even when many ask at the same moment; its markets are there before anybody gets it."""
    sessions: list[Exchange] = list(await asyncio.gather(*(pool.get(PAPER) for _ in range(10))))
    assert len({id(session) for session in sessions}) == 1
    assert [exchange.asked for exchange in venue.opened] == [["load_markets"]]


async def test_a_first_opening_that_fails_is_told_and_tried_again_by_the_next(pool: SessionPool, venue: Venue) -> None:
    """There is no old one to go on with; what was opened is closed."""
    venue.behave = fail(ExchangeError("venue down"))
    with pytest.raises(ExchangeError, match="venue down"):
        await pool.get(PAPER)
    assert venue.opened[0].closed == 1
    assert (await pool.get(PAPER)).profile.exchange_id == "paper 1 old"


async def test_a_higher_generation_swaps_and_whoever_holds_the_session_uses_the_new_client(
    pool: SessionPool, venue: Venue
) -> None:
    """A long-running flow keeps its session object through a restart."""
    session = await pool.get(PAPER, 1)
    assert await pool.get(PAPER, 2) is session
    assert (await session.fetch_balance()).currency == "paper 1 old"
    assert await pool.get(PAPER, 1) is session
    assert len(venue.opened) == 2
    await pool.close()
    assert [exchange.closed for exchange in venue.opened] == [1, 1]


async def test_edited_settings_swap(pool: SessionPool, venue: Venue) -> None:
    """A key is rotated by editing the block, without a restart."""
    session = await pool.get(PAPER)
    await pool.get(replace(PAPER, api_key="new"))
    assert (await session.fetch_balance()).currency == "paper 1 new"
    assert len(venue.opened) == 2


async def test_a_live_key_that_may_withdraw_is_refused_unless_accepted_in_words(
    pool: SessionPool, venue: Venue
) -> None:
    """Trading does not need it, and whoever steals the key does."""
    live = replace(PAPER, mode="live")
    venue.permissions |= {"withdraw"}
    with pytest.raises(ConfigError, match=r"account paper: its key may withdraw.*accept it there in words"):
        await pool.get(live)
    assert venue.opened[0].closed == 1
    await pool.get(replace(live, may_withdraw=True))
    await pool.get(replace(PAPER, account="play"))
    assert len(venue.opened) == 3


async def test_a_key_rotated_to_one_that_may_withdraw_does_not_take_over(
    pool: SessionPool, venue: Venue, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one goes on, and the log says why."""
    live = replace(PAPER, mode="live")
    session = await pool.get(live)
    venue.permissions |= {"withdraw"}
    await pool.get(replace(live, api_key="new"))
    assert (await session.fetch_balance()).currency == "paper 0 old"
    assert "its key may withdraw" in caplog.text


async def test_calls_in_flight_end_on_the_old_client_which_is_closed_afterwards(
    pool: SessionPool, venue: Venue
) -> None:
    """Nobody's call is cut off by somebody else's restart."""
    session = await pool.get(PAPER, 1)
    gate = asyncio.Event()
    venue.opened[0].behave = gate.wait
    in_flight = asyncio.create_task(session.fetch_balance())
    await asyncio.sleep(0)
    await pool.get(PAPER, 2)
    assert (await session.fetch_balance()).currency == "paper 1 old"
    assert venue.opened[0].closed == 0
    gate.set()
    assert (await in_flight).currency == "paper 0 old"
    await pool.close()
    assert venue.opened[0].closed == 1


async def test_a_failed_replacement_keeps_the_old_client_and_is_tried_again_later(
    pool: SessionPool, venue: Venue, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Ordinary runs go on; they do not hammer a venue that is down."""
    session = await pool.get(PAPER, 1)
    venue.behave = fail(ExchangeError("venue down"))
    with caplog.at_level(logging.WARNING):
        assert await pool.get(PAPER, 2) is session
    assert "exchange_not_replaced account=paper generation=2 error=venue down" in caplog.text
    assert session.generation == 1
    assert (await session.fetch_balance()).currency == "paper 0 old"
    await pool.get(PAPER, 2)
    assert len(venue.opened) == 2
    await clock.advance(RETRY_SECONDS)
    await pool.get(PAPER, 2)
    assert session.generation == 2
    assert venue.opened[1].closed == 1


async def test_a_block_edited_to_nonsense_keeps_the_old_client(pool: SessionPool, venue: Venue) -> None:
    """A slip in the UI must not stop the trading that works."""
    session = await pool.get(PAPER, 1)
    venue.refuses = ConfigError("there is no exchange 'okex'", where="exchange_id")
    assert await pool.get(replace(PAPER, exchange_id="okex"), 1) is session
    assert (await session.fetch_balance()).currency == "paper 0 old"


async def test_only_the_restarter_hears_of_a_failed_restart(pool: SessionPool, venue: Venue) -> None:
    """And the old session goes on working."""
    session = await pool.get(PAPER, 1)
    venue.behave = fail(ExchangeError("venue down"))
    with pytest.raises(ExchangeError, match="venue down"):
        await pool.restart(PAPER, 2)
    assert (session.generation, venue.opened[0].closed) == (1, 0)
    assert (await session.fetch_balance()).currency == "paper 0 old"


async def test_a_restart_replaces_even_what_is_new_enough(pool: SessionPool, venue: Venue) -> None:
    """It was asked for."""
    await pool.get(PAPER, 5)
    assert (await pool.restart(PAPER, 5)).generation == 5
    assert len(venue.opened) == 2


async def test_while_one_opens_the_new_client_the_others_use_the_old(pool: SessionPool, venue: Venue) -> None:
    """An order must not wait for four thousand markets to load."""
    session = await pool.get(PAPER, 1)
    gate = asyncio.Event()
    venue.behave = gate.wait
    opening = asyncio.create_task(pool.get(PAPER, 2))
    await venue.opens(2)
    assert (await (await pool.get(PAPER, 2)).fetch_balance()).currency == "paper 0 old"
    gate.set()
    await opening
    assert session.generation == 2


async def test_a_canceled_opening_leaves_nothing_open(pool: SessionPool, venue: Venue) -> None:
    """The run that asked for it was canceled; the next one opens its own."""
    venue.behave = asyncio.Event().wait
    opening = asyncio.create_task(pool.get(PAPER))
    await venue.opens(1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert venue.opened[0].closed == 1
    venue.behave = None
    assert (await pool.get(PAPER)).profile.exchange_id == "paper 1 old"


async def test_a_second_account_may_share_the_markets_of_the_first(pool: SessionPool, venue: Venue) -> None:
    """Four thousand markets cost 30 MB; a replacement gets fresh ones."""
    await pool.get(PAPER, 1)
    await pool.get(replace(PAPER, account="sub"), 1)
    await pool.get(PAPER, 2)
    assert venue.donors == [[], ["paper 0 old"], []]


async def test_closing_the_pool_closes_everything_once(pool: SessionPool, venue: Venue) -> None:
    """Closing a session itself does nothing: many share it."""
    session = await pool.get(PAPER)
    await session.close()
    assert venue.opened[0].closed == 0
    await pool.close()
    await pool.close()
    assert venue.opened[0].closed == 1


async def test_a_replaced_client_spends_from_the_same_budget_and_keeps_its_pause(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restart-exchange runs every five minutes: each time a fresh bucket and a forgotten Retry-After, until the ban."""
    monkeypatch.setattr(CcxtExchange, "load_markets", FakeExchange("okx").load_markets)
    admitted: list[tuple[str, RateBudget]] = []

    async def admit(account: str, budget: RateBudget) -> None:
        admitted.append((account, budget))

    pool = SessionPool(clock=clock, admit=admit)
    session = await pool.get(replace(PAPER, secret="s", password="p", requests_per_second=10))
    budget = budget_of(session)
    assert budget is not None
    await budget.acquire(Priority.CANCEL, 8)
    budget.pause(30)
    old = session.inner
    await pool.restart(replace(PAPER, secret="s", password="p", requests_per_second=20), 1)
    assert session.inner is not old
    assert budget_of(session) is budget
    assert (budget.limit, budget.paused_for) == (20, 30)
    assert budget.tokens == 2
    # Before the first request of each client; a keeper that knows the budget has nothing to do.
    assert admitted == [("paper", budget)] * 2
    gate = ConnectionGate("okx stream", clock=clock)
    streams = open_streams(replace(PAPER, secret="s", password="p"), clock=clock, gate=gate, loaded=session.inner)
    assert streams.connection.budget is budget
    await streams.close()
    await pool.close()
