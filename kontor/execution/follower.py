"""Following what was just placed: a market order is over at once, and its fills should not wait for a poll."""

import asyncio
import logging
from functools import partial

from kontor.domain.order import Order, OrderType, TimeInForce
from kontor.errors import ExchangeError
from kontor.execution.collect import collect_fills, is_short_of_fills, refresh
from kontor.execution.shift import Shift
from kontor.resilience.deadline import DeadlineExceeded, deadline

log = logging.getLogger(__name__)

# Beyond this many the rest is left to order tracking, which asks for many at once.
MOST = 50
# A limit order may be filled at once, or rest for days: one look, while there is nothing better to do.
MOST_RESTING = 4
PARALLEL = 4
LOOKS_AT_ENDING = (0.0, 0.1, 0.3, 1.0, 3.0)
LOOKS_AT_RESTING = (0.0,)


class Follower:
    """Looks after orders the venue has just accepted; what it misses, order tracking finds."""

    def __init__(self, shift: Shift) -> None:
        self._shift = shift
        self._followed: set[str] = set()
        self._slots = asyncio.Semaphore(PARALLEL)

    def placed(self, order: Order) -> None:
        """Follow an order that the venue has."""
        most = MOST if ends_by_itself(order) or order.filled_quantity > 0 else MOST_RESTING
        if order.client_order_id in self._followed or len(self._followed) >= most:
            return
        if order.is_finished and order.filled_quantity == 0:
            return
        self._followed.add(order.client_order_id)
        self._shift.start(partial(self._follow, order), f"follow-up client_order_id={order.client_order_id}")

    async def _follow(self, order: Order) -> None:
        shift = self._shift
        try:
            for pause in LOOKS_AT_ENDING if ends_by_itself(order) else LOOKS_AT_RESTING:
                await shift.clock.sleep(pause)
                async with self._slots, deadline("follow order", shift.request_timeout):
                    order = await self._look(order)
                if order.is_finished and not await is_short_of_fills(shift.journal, order):
                    return
        except (ExchangeError, DeadlineExceeded) as error:
            log.info("order left to tracking client_order_id=%s error=%s", order.client_order_id, error)
        finally:
            self._followed.discard(order.client_order_id)

    async def _look(self, order: Order) -> Order:
        if order.is_finished:
            return await collect_fills(self._shift.journal, self._shift.exchange, order)
        return await refresh(self._shift.journal, self._shift.exchange, order)


def ends_by_itself(order: Order) -> bool:
    """Whether the order is over as soon as the venue has matched it."""
    return order.order_type is OrderType.MARKET or order.time_in_force is not TimeInForce.GTC
