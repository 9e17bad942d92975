"""Orders of unknown outcome: asked for until the venue answers; sent again only on proof of absence; else held."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from kontor.domain.order import Order, OrderReport
from kontor.errors import ExchangeError, OrderNotFound
from kontor.execution.holding import hold, unhold
from kontor.execution.lookup import can_look_up, look_up, search
from kontor.execution.pauses import Pauses
from kontor.execution.shift import Shift
from kontor.execution.verdicts import absent, answered, refused
from kontor.resilience.deadline import DeadlineExceeded, deadline

log = logging.getLogger(__name__)

# One "not found" may be a cache or a replica; so may two.
MIN_ANSWERS = 3
PARALLEL = 5


@dataclass(slots=True)
class _Absence:
    since: float
    answers: int = 0


class Resolver:
    """Finds out what became of submitted orders that nobody in this process is sending."""

    def __init__(self, shift: Shift, *, placed: Callable[[Order], None]) -> None:
        self._shift = shift
        self._placed = placed
        self._absences: dict[str, _Absence] = {}
        self._held: set[str] = set()
        self._slots = asyncio.Semaphore(PARALLEL)
        self.pauses = Pauses(longest=3.0)

    def drain(self, submitted: Sequence[Order]) -> None:
        """Start the lookups that are due."""
        now = self._shift.clock.monotonic()
        for order in submitted:
            name = order.client_order_id
            if name not in self._shift.at_work and self.pauses.is_due(name, now):
                self._shift.at_work.add(name)
                self._shift.start(partial(self._resolve, order), f"lookup client_order_id={name}")

    async def _resolve(self, order: Order) -> None:
        shift, name = self._shift, order.client_order_id
        is_settled = False
        try:
            async with self._slots, deadline("look up order", 3 * shift.request_timeout):
                is_settled = await self._ask(order)
        except (ExchangeError, DeadlineExceeded) as error:
            # No answer is neither presence nor absence.
            log.warning("order still unknown client_order_id=%s error=%s", name, error)
        finally:
            shift.at_work.discard(name)
            if is_settled:
                await self._settled(name)
            else:
                self.pauses.failed(name, shift.clock.monotonic())

    async def _ask(self, order: Order) -> bool:
        """Ask once; True when the order's state is decided."""
        shift = self._shift
        try:
            report = await look_up(shift.exchange, order)
        except OrderNotFound:
            return await self._not_found(order)
        await self._found(order, report)
        return True

    async def _found(self, order: Order, report: OrderReport) -> None:
        shift = self._shift
        shift.failpoint("resolved")
        order = await shift.journal.change(order, lambda stored: answered(stored, report), "found at the venue")
        self._placed(order)

    async def _not_found(self, order: Order) -> bool:
        shift, now = self._shift, self._shift.clock.monotonic()
        absence = self._absences.setdefault(order.client_order_id, _Absence(now))
        absence.answers += 1
        is_proven = (
            absence.answers >= MIN_ANSWERS
            and now - absence.since >= shift.exchange.profile.absence_grace.total_seconds()
            and not shift.may_still_arrive(order)
        )
        if not is_proven:
            return False
        found = await search(shift.exchange, order, was_waited_for=True)
        if found is not None:
            await self._found(order, found)
            return True
        if not can_look_up(shift.exchange, order):
            await self._hold(order, f"{shift.exchange.profile.exchange_id} cannot be asked by our id")
            return False
        if order.client_order_id in shift.said_placed:
            await self._hold(order, "the venue refused its id as known already, yet cannot show it")
            return False
        await self._give_up_or_resend(order, now - absence.since)
        return True

    async def _give_up_or_resend(self, order: Order, seconds: float) -> None:
        shift, at = self._shift, self._shift.clock.now()
        shift.failpoint("proven absent")
        detail = f"the venue has said for {seconds:.0f} s that it does not have it"
        refusal = shift.refusals.get(order.client_order_id)
        if refusal is not None:
            await shift.journal.change(order, lambda stored: refused(stored, refusal, at), detail)
            return
        await shift.journal.change(order, lambda stored: absent(stored, at), detail)

    async def _hold(self, order: Order, why: str) -> None:
        """Leave the order to a person: nothing is guessed, its symbol's later orders wait."""
        name, shift = order.client_order_id, self._shift
        if name in self._held:
            return
        self._held.add(name)
        now = shift.clock.now()
        text = f"{why}; look at the venue and decide with resolve_order what became of order {name}"
        value = {"symbol": order.symbol, "since": now.isoformat(), "reason": text}
        await hold(shift.store.desk, shift.account, name, value, now)
        log.error("order held client_order_id=%s symbol=%s reason=%s", name, order.symbol, text)
        shift.alert(f"Order {name} is held", text)

    async def _settled(self, name: str) -> None:
        self.pauses.worked(name)
        self._absences.pop(name, None)
        self._shift.refusals.pop(name, None)
        self._shift.said_placed.discard(name)
        self._held.discard(name)
        # Also one that a process before this one held.
        await unhold(self._shift.store.desk, self._shift.account, name, self._shift.clock.now())
