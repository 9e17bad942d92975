"""The executor of an account's orders: one at a time, by lease; it drains the queue for as long as it runs."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from uuid import uuid4

from kontor.config import OrderSettings
from kontor.domain.order import CANCELABLE
from kontor.errors import KontorError, LeaseLost, StoreError
from kontor.execution.canceler import Canceler
from kontor.execution.dead_mans_switch import DeadMansSwitch
from kontor.execution.follower import Follower, ends_by_itself
from kontor.execution.halt import HALTED, halt_of
from kontor.execution.journal import Journal
from kontor.execution.lease import HeldLease, lease_name
from kontor.execution.pauses import Pauses
from kontor.execution.resolve import Resolver
from kontor.execution.sender import Sender
from kontor.execution.shift import Failpoint, Shift, no_failpoint
from kontor.ports import Clock, Exchange, Notifier, Store

log = logging.getLogger(__name__)

# The longest time without a look at the queue, whether or not anything was announced.
IDLE_SECONDS = 1.0
BEAT_SECONDS = 10.0
# Requests that have just begun are left alone for as long as it takes to build and sign one: the next look at the
# queue, which our own claim has called for, would take the processor from them.
HEAD_START_SECONDS = 0.003
# Pending orders read at once, at most one per symbol.
LOOK_AHEAD = 400
# A canceled executor lets what is on the wire come back for this long: every answer heard is one unknown less.
LAST_ANSWERS_SECONDS = 2.0


class Executor:
    """Sends an account's orders, each at most once, and finds out what became of every one.

    Several may run: one holds the lease, the others wait and take over when it lapses. `run` returns after `stop`.
    """

    def __init__(
        self,
        account: str,
        store: Store,
        exchange: Exchange,
        clock: Clock,
        settings: OrderSettings,
        owner: str,
        *,
        notifier: Notifier | None = None,
        beat_as: str | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._account, self._store, self._exchange, self._clock = account, store, exchange, clock
        self._settings = settings
        # Unique per instance: a process that comes back under its old name is a new owner all the same.
        self.owner = f"{owner}:{uuid4().hex[:8]}"
        self._notifier, self._beat_as, self._failpoint = notifier, beat_as, failpoint
        self._ttl = timedelta(seconds=settings.lease_seconds)
        self._stopping = asyncio.Event()
        self._store_pauses = Pauses(longest=5.0)

    async def run(self) -> None:
        """Work until stopped or canceled; a lost lease sends it back to waiting for the next."""
        while not self._stopping.is_set():
            held = await self._acquire()
            if held is None:
                continue
            log.info("executor works account=%s owner=%s fencing=%d", self._account, self.owner, held.lease.fencing)
            try:
                await self._work(held)
            except* LeaseLost as lost:
                log.warning("executor lost its lease account=%s error=%s", self._account, lost.exceptions[0])
            finally:
                await held.release()
        log.info("executor stopped account=%s owner=%s", self._account, self.owner)

    def stop(self) -> None:
        """Claim nothing more, let what is on the wire come back, then return from `run`."""
        self._stopping.set()

    async def _acquire(self) -> HeldLease | None:
        """The lease; None when it is time to ask again."""
        name = lease_name(self._account)
        try:
            held = await HeldLease.acquire(self._store.desk, self._clock, name, self.owner, self._ttl)
        except StoreError as error:
            held = None
            log.error("lease not acquired account=%s error=%s", self._account, error)  # noqa: TRY400  (says it all)
        if held is None:
            await self._rest(min(self._ttl.total_seconds() / 4, IDLE_SECONDS), self._stopping)
        return held

    async def _work(self, held: HeldLease) -> None:
        async with asyncio.TaskGroup() as tasks:
            shift = self._begin(held, tasks)
            switch = DeadMansSwitch(self._account, self._store, self._exchange, self._clock, self._settings)
            works = (held.keep(), self._watch(shift), self._beat(shift), switch.keep())
            background = [tasks.create_task(work) for work in works]
            try:
                await self._loop(shift)
            finally:
                await self._last_answers(shift)
                await switch.let_go(held)
            for task in (*background, *shift.running):
                task.cancel()

    def _begin(self, held: HeldLease, tasks: asyncio.TaskGroup) -> Shift:
        journal = Journal(self._store.orders, self._clock, f"executor {self.owner}", held.lease.fencing)
        return Shift(
            self._account,
            self._store,
            self._exchange,
            self._clock,
            self._settings,
            held,
            journal,
            tasks,
            self._notifier,
            self._failpoint,
        )

    async def _loop(self, shift: Shift) -> None:
        follower = Follower(shift)
        sender = Sender(shift, placed=follower.placed)
        canceler = Canceler(shift)
        resolver = Resolver(shift, placed=follower.placed)
        await self._pick_up(follower)
        while not self._stopping.is_set():
            shift.wake.clear()
            pause = IDLE_SECONDS
            try:
                if await self._cycle(shift, canceler, resolver, sender):
                    await self._clock.sleep(HEAD_START_SECONDS)
                self._store_pauses.worked("store")
                shift.came_round.set()
            except LeaseLost:
                raise
            except StoreError as error:
                # Nothing is sent that cannot be recorded; once the store works again, so do we.
                pause = self._store_pauses.failed("store", self._clock.monotonic())
                log.error("executor waits for the store account=%s error=%s", self._account, error)  # noqa: TRY400
            except KontorError as error:
                log.warning("executor cycle failed account=%s error=%s", self._account, error)
            now = self._clock.monotonic()
            dues = [pauses.next_due(now) for pauses in (sender.pauses, canceler.pauses, resolver.pauses)]
            await self._rest(min([pause, *(due for due in dues if due is not None)]), shift.wake)

    async def _pick_up(self, follower: Follower) -> None:
        """Follow what an executor before us placed and had no time to follow."""
        try:
            for order in await self._store.orders.find(self._account, states=CANCELABLE):
                if ends_by_itself(order):
                    follower.placed(order)
        except StoreError as error:
            log.warning("placed orders left to tracking account=%s error=%s", self._account, error)

    async def _cycle(self, shift: Shift, canceler: Canceler, resolver: Resolver, sender: Sender) -> bool:
        """One look at everything there is to do; the work itself runs beside it. Cancels go first.

        True when orders are on their way to the wire.
        """
        account = self._account
        # What is being worked on while we read may be finished when we look at it, and then looks untouched.
        in_hand = frozenset(shift.at_work)
        due = await self._store.orders.due(account, limit=LOOK_AHEAD, attribute=HALTED)
        halt = halt_of(due.attribute)
        if halt is None or not halt.blocked:
            canceler.drain([order for order in due.to_cancel if order.client_order_id not in in_hand])
        resolver.drain([order for order in due.submitted if order.client_order_id not in in_hand])
        return await sender.drain(due.pending, halt)

    async def _beat(self, shift: Shift) -> None:
        """Report success for as long as the loop comes round: a heartbeat of its own task would prove nothing."""
        while self._beat_as is not None:
            await shift.came_round.wait()
            shift.came_round.clear()
            try:
                await self._store.desk.beat(self._account, self._beat_as, self._clock.now())
            except StoreError as error:
                log.warning("executor cannot report account=%s error=%s", self._account, error)
            await self._clock.sleep(BEAT_SECONDS)

    async def _watch(self, shift: Shift) -> None:
        """Wake the loop as soon as anybody has committed something."""
        while True:
            try:
                if await self._store.orders.wait_for_change(self._account, seconds=60):
                    shift.wake.set()
            except StoreError:
                # The loop meets the same error and reports it; here it only must not spin.
                await self._clock.sleep(IDLE_SECONDS)

    async def _rest(self, seconds: float, until: asyncio.Event) -> None:
        """Wait for the event, at most so long, and no longer than until `stop`."""
        if until.is_set() or self._stopping.is_set():
            await asyncio.sleep(0)
            return
        waits = [
            asyncio.ensure_future(wait) for wait in (until.wait(), self._stopping.wait(), self._clock.sleep(seconds))
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _last_answers(self, shift: Shift) -> None:
        seconds = shift.request_timeout if self._stopping.is_set() else LAST_ANSWERS_SECONDS
        if shift.running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.wait(set(shift.running))
