"""Sending: claims what is ready, commits SUBMITTED, goes to the wire, records what came back."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from kontor.domain.exposure import only_reduces
from kontor.domain.order import Order, OrderReport, OrderState, advance
from kontor.errors import AlreadyPlaced, AuthenticationFailed, ExchangeError, NotPlaced, OutcomeUnknown, Rejected
from kontor.execution.halt import Halt
from kontor.execution.journal import Change
from kontor.execution.pauses import Pauses
from kontor.execution.shift import Shift
from kontor.execution.verdicts import absent, answered, expired, is_receipt, may_resend, refused, sentence, submitted
from kontor.resilience.deadline import DeadlineExceeded, deadline

log = logging.getLogger(__name__)

S = OrderState
Outcome = OrderReport | BaseException
_WIRE = "wire"
MAX_REQUESTS = 16


class Sender:
    """Takes pending orders to the venue; symbols in parallel, each symbol's orders one after the other."""

    def __init__(self, shift: Shift, *, placed: Callable[[Order], None]) -> None:
        self._shift = shift
        self._placed = placed
        self._requests = 0
        # While the venue takes no requests or cannot be reached, everything waits together.
        self.pauses = Pauses(longest=5.0)

    async def drain(self, pending: Sequence[Order], halt: Halt | None) -> bool:
        """Start sending what can go now, and say whether there was any.

        Orders past their time expire, those that a halt forbids are denied.
        """
        shift = self._shift
        now = shift.clock.now()
        room = (MAX_REQUESTS - self._requests) * self._batch
        is_open = room > 0 and self.pauses.is_due(_WIRE, shift.clock.monotonic()) and not (halt and halt.blocked)
        pairs: list[tuple[Order, Order]] = []
        markets = await shift.exchange.load_markets() if halt and not halt.blocked else {}
        for order in pending:
            if order.symbol in shift.busy or order.client_order_id in shift.at_work:
                continue
            if order.good_until is not None and order.good_until <= now:
                pairs.append((order, expired(order, now)))
            elif halt and not only_reduces(markets.get(order.symbol), order.side, reduce_only=order.reduce_only):
                pairs.append(
                    (order, advance(order, S.DENIED, now, reason=f"halted: trading is halted ({halt.reason})"))
                )
            elif is_open and room > 0:
                room -= 1
                pairs.append((order, submitted(order, now)))
        return await self._claim(pairs)

    @property
    def _batch(self) -> int:
        return max(self._shift.exchange.profile.batch_limit, 1)

    async def _claim(self, pairs: Sequence[tuple[Order, Order]]) -> bool:
        if not pairs:
            return False
        shift = self._shift
        shift.failpoint("claimed")
        orders = [order for order in await shift.journal.claim(pairs) if order.state is S.SUBMITTED]
        shift.failpoint("submitted")
        for start in range(0, len(orders), self._batch):
            batch = orders[start : start + self._batch]
            for order in batch:
                shift.hold(order.symbol)
            shift.at_work.update(order.client_order_id for order in batch)
            self._requests += 1
            names = ",".join(order.client_order_id for order in batch)
            shift.start(partial(self._send, batch), f"send client_order_ids={names}")
        return bool(orders)

    async def _send(self, orders: Sequence[Order]) -> None:
        shift = self._shift
        try:
            outcomes = await self._request(orders)
            shift.failpoint("answered")
            await self._record(orders, outcomes)
            shift.failpoint("recorded")
        finally:
            self._requests -= 1
            for order in orders:
                shift.release(order.symbol)
            shift.at_work.difference_update(order.client_order_id for order in orders)

    async def _request(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """One outcome per order; whatever goes wrong in a way we do not know is an unknown outcome."""
        shift = self._shift
        shift.held.check()
        shift.failpoint("before wire")
        try:
            async with deadline("create order", shift.request_timeout):
                if len(orders) == 1:
                    return [await shift.exchange.create_order(orders[0])]
                outcomes = await shift.exchange.create_orders(orders)
        except (ExchangeError, DeadlineExceeded) as error:
            return [error] * len(orders)
        except Exception as error:  # a bug in an adapter says nothing about the order
            names = ",".join(order.client_order_id for order in orders)
            log.exception("create failed oddly account=%s client_order_ids=%s", shift.account, names)
            return [error] * len(orders)
        if len(outcomes) != len(orders):
            lost = OutcomeUnknown(f"{len(outcomes)} answers came for {len(orders)} orders")
            return [lost] * len(orders)
        return outcomes

    async def _record(self, orders: Sequence[Order], outcomes: Sequence[Outcome]) -> None:
        changes: list[Change] = []
        for order, outcome in zip(orders, outcomes, strict=True):
            change = self._judge(order, outcome)
            if change is not None:
                changes.append(change)
        await self._note_wire(outcomes)
        self._shift.failpoint("before record")
        for order in await self._shift.journal.change_all(changes):
            if order.venue_order_id is not None:
                self._placed(order)

    def _judge(self, order: Order, outcome: Outcome) -> Change | None:
        """What the outcome makes of the order; None leaves it unknown, for the resolver."""
        now = self._shift.clock.now()
        if isinstance(outcome, OrderReport):
            if is_receipt(order, outcome):
                return Change(order, lambda stored: answered(stored, outcome))
            outcome = OutcomeUnknown(f"the reply names {outcome.venue_order_id!r} for {outcome.client_order_id!r}")
        if may_resend(outcome):
            log.warning("order not sent client_order_id=%s error=%s", order.client_order_id, outcome)
            return Change(order, lambda stored: absent(stored, now), f"not placed: {sentence(outcome)}")
        if isinstance(outcome, Rejected):
            if order.attempts > 1:
                # An earlier attempt may be what this one collided with: the resolver asks the venue before it is final.
                self._shift.refusals[order.client_order_id] = outcome
                log.warning("order refused when sent again client_order_id=%s error=%s", order.client_order_id, outcome)
                return None
            return Change(order, lambda stored: refused(stored, outcome, now))
        if isinstance(outcome, AlreadyPlaced):
            self._shift.said_placed.add(order.client_order_id)
        log.warning("order outcome unknown client_order_id=%s error=%s", order.client_order_id, sentence(outcome))
        return None

    async def _note_wire(self, outcomes: Sequence[Outcome]) -> None:
        """Back off when the venue or the way to it says so; halt when it refuses the key."""
        now = self._shift.clock.monotonic()
        for outcome in outcomes:
            if isinstance(outcome, AuthenticationFailed):
                await self._shift.block(outcome)
        held_up = [outcome for outcome in outcomes if isinstance(outcome, BaseException) and may_resend(outcome)]
        if not held_up:
            self.pauses.worked(_WIRE)
            return
        asked = [error.retry_after for error in held_up if isinstance(error, NotPlaced) and error.retry_after]
        pause = self.pauses.failed(_WIRE, now, at_least=max((a.total_seconds() for a in asked), default=0.0))
        log.warning("sending pauses account=%s seconds=%.2f error=%s", self._shift.account, pause, held_up[0])
