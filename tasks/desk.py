"""Opening the desk: an account's exchange and store, through the gate, one run of an updater at a time."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar, cast
from uuid import uuid4

import anyio
from prefect import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from kontor.desk import EXCHANGE_GENERATION, Desk, is_gate_open
from kontor.errors import (
    AccountBlocked,
    AuthenticationFailed,
    ExchangeError,
    GateClosed,
    KontorError,
    NotNow,
    OrderRefused,
    StillRunning,
    StreamIsFresh,
)
from kontor.execution.halt import block
from kontor.ports import Exchange, Lease
from kontor.resilience.breaker_state import last_reset
from tasks.hooks import REFUSED
from tasks.notifications import SETTLE_SECONDS, process_sender, settle_alerts
from tasks.resources import Resources

P = ParamSpec("P")
R = TypeVar("R")

# A run that was killed holds its place until this time has passed; longer than every updater's timeout.
OVERLAP = timedelta(seconds=75)
LAST_WORDS_SECONDS = 3.0
GATE_SECONDS = 0.5


def updater(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a run that has nothing to do now end as Completed, named `Waiting` or `Skipped`, instead of failing."""

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except NotNow as reason:
            return cast("R", Completed(name=reason.state_name, message=str(reason)))

    return run


def by_hand(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a run that a person started fail with our error's sentence, without a traceback in its log.

    A closed gate is a failure here: a person who reads Completed would believe that the order was sent.
    """

    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except KontorError as error:
            # A refused order is told as such; its run is no second alert.
            name = REFUSED if isinstance(error, OrderRefused) else "Failed"
            return cast("R", Failed(name=name, message=str(error)))

    return run


class _NoExchange:
    """Stands where a desk's exchange would be, for what needs none."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"this desk was opened without its exchange, so there is no {name}")


@asynccontextmanager
async def open_desk(
    account: str,
    *,
    updater: str | None = None,
    gated: bool = True,
    overlap: timedelta = OVERLAP,
    with_exchange: bool = True,
    wait: bool = False,
) -> AsyncIterator[Desk]:
    """The account's desk.

    With `updater`, the run is that updater: it raises StillRunning while another run of it works, and reports a
    heartbeat at its end, of success or of failure. `gated=False` is for what must work before initialization; `wait`
    is for what runs as long as the desk does: it waits for that.
    `overlap` is how long a killed run holds its place. `with_exchange=False` is for what must work while the venue is
    away: its desk cannot ask the venue anything. Raises ConfigError when kontor.yaml or a block is wrong,
    GateClosed before initialization.
    """
    resources = Resources.here()
    resources.enter()
    try:
        if wait:
            await _wait_for_gate(resources, account)
        desk = await _assemble(resources, account, gated=gated, with_exchange=with_exchange)
        if updater is None:
            yield desk
        else:
            watch = _key_watch(desk, updater, gated=gated)
            async with _only_run(desk, updater, overlap), watch, _heartbeat(desk, updater):
                yield desk
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORDS_SECONDS):
            await resources.leave()
        with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_SECONDS):
            await settle_alerts()


async def _wait_for_gate(resources: Resources, account: str) -> None:
    """Wait until the account is initialized, and say so."""
    state = (await resources.store()).desk
    if not await is_gate_open(state, account):
        await _check_block(resources, account)
        get_run_logger().info("waiting for the gate of %s", account)
        with contextlib.suppress(KontorError):
            # So that it begins at once when the gate opens. A live account that nobody has accepted yet just waits.
            await _assemble(resources, account)
    while not await is_gate_open(state, account):
        await resources.clock.sleep(GATE_SECONDS)


async def _check_block(resources: Resources, account: str) -> None:
    """Raises ConfigError for a mistake that no initialization will mend: no block, or an exchange that there is not."""
    # ccxt takes half a second and 100 MB: a process that has nothing to wait for imports it elsewhere.
    from kontor.exchange.client import exchange_class

    exchange_class((await resources.settings(account)).exchange_id)


async def _assemble(resources: Resources, account: str, *, gated: bool = False, with_exchange: bool = True) -> Desk:
    config = resources.config(account)
    store = await resources.store()
    if gated and not await is_gate_open(store.desk, account):
        # Before the exchange is reached: a live account that nobody has accepted yet just waits.
        await _check_block(resources, account)
        raise GateClosed(f"{account} is not initialized yet; the flow 'initialize' opens the gate")
    if not with_exchange:
        await resources.settings(account)  # an account that nobody has configured is a mistake here too
        return Desk(account, config, cast("Exchange", _NoExchange()), store, resources.clock, process_sender())
    generation = await store.desk.attribute(account, EXCHANGE_GENERATION)
    resources.reset_breakers(account, await last_reset(store.desk, account))
    exchange = await resources.exchange(account, int(generation.value) if generation else 0)
    return Desk(account, config, exchange, store, resources.clock, process_sender())


@asynccontextmanager
async def _only_run(desk: Desk, updater: str, overlap: timedelta) -> AsyncIterator[Lease]:
    state = desk.store.desk
    owner = str(flow_run.id or uuid4())
    lease = await state.acquire_lease(f"updater:{desk.account}:{updater}", owner, overlap, desk.clock.now())
    if lease is None:
        raise StillRunning(f"the previous run of {updater} is still at work")
    try:
        yield lease
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORDS_SECONDS):
            await state.release_lease(lease)


@asynccontextmanager
async def _key_watch(desk: Desk, updater: str, *, gated: bool) -> AsyncIterator[None]:
    """A refused key halts the account and is told once; its updaters then have nothing to do, and say so."""
    try:
        yield
    except AuthenticationFailed as error:
        if not gated or not await _is_refused(desk):
            raise
        await block_account(desk, error, actor=f"updater {updater}")
        raise AccountBlocked(f"the exchange refuses the key of {desk.account}; the runbook says what to do") from error


async def block_account(desk: Desk, error: AuthenticationFailed, *, actor: str) -> None:
    """Halt an account whose key the exchange refuses; watch-desk tells it."""
    await block(desk.store.desk, desk.account, str(error), actor=actor, at=desk.clock.now())


async def _is_refused(desk: Desk) -> bool:
    """Ask once more: one odd answer of the venue must not end a night's trading."""
    try:
        await desk.exchange.fetch_balance()
    except AuthenticationFailed:
        return True
    except ExchangeError:
        return False
    return False


@asynccontextmanager
async def _heartbeat(desk: Desk, updater: str) -> AsyncIterator[None]:
    started = desk.clock.monotonic()
    try:
        yield
    except StreamIsFresh:
        await desk.store.desk.beat(desk.account, updater, desk.clock.now())
        raise
    except NotNow:
        raise
    except asyncio.CancelledError:
        await _report(desk, updater, "stopped before it was done (timeout or cancellation)")
        raise
    except Exception as error:
        await _report(desk, updater, f"{type(error).__name__}: {error}")
        raise
    duration = timedelta(seconds=desk.clock.monotonic() - started)
    await desk.store.desk.beat(desk.account, updater, desk.clock.now(), duration=duration)


async def _report(desk: Desk, updater: str, error: str) -> None:
    # The run's own scope may be canceled already; the heartbeat must still get out.
    with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_WORDS_SECONDS):
        await desk.store.desk.beat(desk.account, updater, desk.clock.now(), error=error[:500])
