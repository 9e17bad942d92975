"""Canceling at the venue: asked for again until the order is finished; a failed cancel is a question, not an answer."""

import logging
from collections.abc import Sequence
from functools import partial

from kontor.domain.identity import EXTERNAL
from kontor.domain.order import CANCELABLE, Order
from kontor.errors import AuthenticationFailed, ExchangeError, NotPlaced, OrderNotFound
from kontor.execution.collect import refresh_or_close
from kontor.execution.pauses import Pauses
from kontor.execution.shift import Shift
from kontor.ports import Exchange
from kontor.resilience.deadline import DeadlineExceeded, deadline

log = logging.getLogger(__name__)


class Canceler:
    """Takes requested cancels to the venue, before any create that waits."""

    def __init__(self, shift: Shift) -> None:
        self._shift = shift
        self.pauses = Pauses(longest=10.0)

    def drain(self, live: Sequence[Order]) -> None:
        """Start the cancels that are due; an order of unknown outcome is canceled once the resolver has found it."""
        now = self._shift.clock.monotonic()
        for order in live:
            if (
                order.cancel_requested_at is not None
                and order.state in CANCELABLE
                and order.client_order_id not in self._shift.at_work
                and self.pauses.is_due(order.client_order_id, now)
            ):
                self._shift.at_work.add(order.client_order_id)
                self._shift.hold(order.symbol)
                self._shift.start(partial(self._cancel, order), f"cancel client_order_id={order.client_order_id}")

    async def _cancel(self, order: Order) -> None:
        shift = self._shift
        pause, is_over = 0.0, False
        try:
            try:
                pause = await self._ask(order)
            finally:
                # The symbol's next order waits for the first answer only.
                shift.release(order.symbol)
            is_over = await self._see(order)
        finally:
            shift.at_work.discard(order.client_order_id)
            if is_over:
                self.pauses.worked(order.client_order_id)
            else:
                self.pauses.failed(order.client_order_id, shift.clock.monotonic(), at_least=pause)

    async def _ask(self, order: Order) -> float:
        """Ask once; returns the seconds the venue wants us to wait before asking again. Errors decide nothing."""
        shift = self._shift
        shift.held.check()
        shift.failpoint("before cancel")
        try:
            async with deadline("cancel order", shift.request_timeout):
                if order.is_stop:
                    await _cancel_stop(shift.exchange, order)
                elif order.venue_order_id is not None:
                    await shift.exchange.cancel_order(order.symbol, venue_order_id=order.venue_order_id)
                else:
                    await shift.exchange.cancel_order(order.symbol, client_order_id=order.client_order_id)
        except OrderNotFound as error:
            log.info("cancel found nothing open client_order_id=%s error=%s", order.client_order_id, error)
        except AuthenticationFailed as error:
            await shift.block(error)
        except NotPlaced as error:
            log.warning("cancel refused for now client_order_id=%s error=%s", order.client_order_id, error)
            return error.retry_after.total_seconds() if error.retry_after else 0.0
        except (ExchangeError, DeadlineExceeded) as error:
            log.warning("cancel outcome unknown client_order_id=%s error=%s", order.client_order_id, error)
        shift.failpoint("cancel answered")
        return 0.0

    async def _see(self, order: Order) -> bool:
        """What became of the order; True once it is finished."""
        shift = self._shift
        try:
            async with deadline("look up canceled order", shift.request_timeout):
                order = await refresh_or_close(shift.journal, shift.exchange, shift.clock, order)
        except (ExchangeError, DeadlineExceeded) as error:
            log.warning("canceled order not looked up client_order_id=%s error=%s", order.client_order_id, error)
            return False
        shift.failpoint("cancel recorded")
        return order.is_finished


async def _cancel_stop(exchange: Exchange, order: Order) -> None:
    if order.strategy == EXTERNAL:
        await exchange.cancel_order(order.symbol, venue_order_id=order.venue_order_id, stop=True)
    else:
        # Once triggered, the venue's id is that of the order it became; ours stays.
        await exchange.cancel_order(order.symbol, client_order_id=order.client_order_id, stop=True)
