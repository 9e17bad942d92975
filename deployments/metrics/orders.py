"""How long orders take, read from their history after the fact: an order itself does nothing for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderEvent, OrderState
from kontor.errors import KontorError
from kontor.ports import HistoryMark, Store

log = logging.getLogger(__name__)

LATENCY = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FOLLOW_SECONDS = 1.0
#: The venue's answer to a create is the step from one of the first to one of the second.
_ASKED = frozenset({OrderState.INITIALIZED, OrderState.SUBMITTED})
_ANSWERED = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.FILLED, OrderState.REJECTED})


class OrderFigures:
    """Latencies and counts of orders and fills, from when the process began to look."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued = Histogram(
            "kontor_order_queued_seconds",
            "From when an order was wanted to when it was sent.",
            ["account"],
            buckets=LATENCY,
            registry=registry,
        )
        self._answered = Histogram(
            "kontor_order_ack_seconds",
            "From when an order was wanted to the exchange's answer.",
            ["account"],
            buckets=LATENCY,
            registry=registry,
        )
        self._steps = Counter(
            "kontor_order_transitions", "Orders that came into a state.", ["account", "state"], registry=registry
        )
        self._fills = Counter("kontor_fills", "Fills that were booked.", ["account", "side"], registry=registry)

    def take(self, account: str, events: Sequence[tuple[OrderEvent, Order]], fills: Sequence[Fill]) -> None:
        """Count a piece of history."""
        for event, order in events:
            self._steps.labels(account, event.new_state.value).inc()
            seconds = max((event.at - order.created_at).total_seconds(), 0.0)
            if event.old_state is OrderState.INITIALIZED and event.new_state is OrderState.SUBMITTED:
                self._queued.labels(account).observe(seconds)
            elif event.old_state in _ASKED and event.new_state in _ANSWERED:
                self._answered.labels(account).observe(seconds)
        for fill in fills:
            self._fills.labels(account, fill.side.value).inc()

    async def follow(self, store: Store, accounts: Callable[[], Sequence[str]]) -> None:
        """Count what happens from now on, until canceled; a store in trouble is asked again later."""
        marks: dict[str, HistoryMark] = {}
        while True:
            for account in accounts():
                try:
                    await self._catch_up(store, account, marks)
                except KontorError as error:
                    log.warning("order_history_not_read account=%s error=%s", account, error)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _catch_up(self, store: Store, account: str, marks: dict[str, HistoryMark]) -> None:
        if account not in marks:
            marks[account] = await store.orders.history_end(account)
        while True:
            news = await store.orders.news(account, marks[account])
            if news.mark == marks[account]:
                return
            marks[account] = news.mark
            self.take(account, news.events, news.fills)
