"""Telling people what happens on an account: it follows the store's history from where it last stopped."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from kontor.config.alerts import AlertSettings
from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderEvent, OrderState
from kontor.notify import news
from kontor.notify.holdings import Closed, Holding, Opened, book, currencies
from kontor.notify.redaction import redact
from kontor.notify.summary import is_due, summary_of
from kontor.notify.told import TOLD, Told
from kontor.notify.trades import order_alert
from kontor.ports import Alert, Clock, News, Notifier, Store

logger = logging.getLogger(__name__)

S = OrderState
TOLD_STATES = frozenset({S.DENIED, S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED})
# The gate's rules that are limits of kontor.yaml; the others say that an order is malformed or its price unknown.
LIMITS = frozenset(
    {"max_order_value", "max_position_value", "max_exposure", "max_open_orders", "min_free_balance", "price_collar"}
)
# The store's names for what is followed besides orders; kontor.desk and kontor.execution set them.
GATE, DESK = "gate", "desk"
# How many changes are handed over before they are noted as told.
BATCH = 50
# How long an alert may take to be delivered before its news counts as told all the same.
HAND_OVER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class HaltNews:
    """A halt in force; `key` tells it from every other one. `flaps`: it ends by itself, and may come back."""

    key: str
    reason: str
    actor: str
    title: str = "Trading halted"
    flaps: bool = False


HaltSource = Callable[[], Awaitable[HaltNews | None]]


@dataclass
class Teller:
    """One account's teller; only one may be at work, which is for its caller to see to."""

    account: str
    store: Store
    clock: Clock
    notifier: Notifier
    halts: HaltSource
    mode: str = "paper"

    async def step(self, settings: AlertSettings) -> bool:
        """Tell what has happened since the last step; True when there was so much that more waits.

        What was told is noted once the channels have had it, or time to have it: after a crash in between it is told
        again rather than not at all.
        """
        before = await self._told()
        found = await self.store.orders.news(self.account, before.mark, limit=BATCH)
        after, alerts = self._follow(before, found)
        for more in (self._unknown, self._halt, self._life, self._summary):
            after, told = await more(after, settings)
            alerts += told
        if after == before:
            return False
        for alert in alerts:
            self.notifier.notify(alert)
        try:
            if alerts:
                await self.notifier.drain(seconds=HAND_OVER_SECONDS)
        finally:
            # Also when this run is told to stop meanwhile: the sender goes on with what it has.
            await asyncio.shield(self.store.desk.set_attribute(self.account, TOLD, after.to_json(), self.clock.now()))
        return len(found.events) == BATCH or len(found.fills) == BATCH

    async def _told(self) -> Told:
        known = await self.store.desk.attribute(self.account, TOLD)
        if known is not None:
            return Told.from_json(known.value)
        # The first time: history is not news, and what is held now was not opened by what comes.
        mark = await self.store.orders.history_end(self.account)
        positions = await self.store.account.positions(self.account)
        held = positions.value if positions else ()
        told = Told(
            mark,
            {position.symbol: Holding(position.signed_quantity, position.entry_price) for position in held},
            summary_on=f"{self.clock.now():%Y-%m-%d}",
        )
        await self.store.desk.set_attribute(self.account, TOLD, told.to_json(), self.clock.now())
        return told

    def _follow(self, told: Told, found: News) -> tuple[Told, list[Alert]]:
        alerts = [alert for event, order in _latest(found.events) if (alert := self._order(event, order)) is not None]
        told = replace(told, mark=found.mark)
        for fill in found.fills:
            told, more = self._fill(told, fill)
            alerts += more
        return told, sorted(alerts, key=lambda alert: alert.at)

    def _order(self, event: OrderEvent, order: Order) -> Alert | None:
        if order.is_stop and event.new_state in {S.ACCEPTED, S.CANCELED}:
            # They come, go and move all day; news is one that has fired, or that is missing.
            return None
        try:
            alert = order_alert(replace(order, state=event.new_state, unknown_since=None), event.at, mode=self.mode)
            limit = (order.reason or "").partition(":")[0]
            if event.new_state is S.DENIED and limit in LIMITS:
                alert = news.limit_hit(order.account, event.at, limit=limit, text=alert.title, fields=_facts(alert))
        except Exception as error:  # noqa: BLE001 - one odd order must not keep all that follow from being told
            logger.warning("order not told client_order_id=%s: %s", order.client_order_id, redact(str(error)))
            return None
        return alert

    def _fill(self, told: Told, fill: Fill) -> tuple[Told, list[Alert]]:
        alerts: list[Alert] = []
        try:
            for holding, change in book(fill.symbol, told.holdings.get(fill.symbol, Holding()), fill):
                kept = {symbol: held for symbol, held in told.holdings.items() if symbol != fill.symbol}
                told = replace(told, holdings={**kept, fill.symbol: holding} if holding.quantity else kept)
                if isinstance(change, Closed):
                    told = told.with_realized(currencies(change.symbol)[1], change.holding.pnl)
                alerts += [self._position(change, fill)] if change is not None else []
        except Exception as error:  # noqa: BLE001 - likewise
            logger.warning(
                "fill not told client_order_id=%s trade_id=%s: %s",
                fill.client_order_id,
                fill.trade_id,
                redact(str(error)),
            )
        return told, alerts

    def _position(self, change: Opened | Closed, fill: Fill) -> Alert:
        at, held = fill.filled_at, change.holding
        if isinstance(change, Opened):
            return news.position_opened(
                self.account, at, symbol=change.symbol, quantity=held.quantity, price=held.entry, mode=self.mode
            )
        return news.position_closed(
            self.account,
            at,
            symbol=change.symbol,
            was_long=held.quantity > 0,
            entry=held.entry,
            price=change.price,
            pnl=held.pnl,
            currency=currencies(change.symbol)[1],
            mode=self.mode,
        )

    async def _unknown(self, told: Told, settings: AlertSettings) -> tuple[Told, list[Alert]]:
        now = self.clock.now()
        patience = timedelta(seconds=settings.unknown_after_seconds)
        submitted = await self.store.orders.find(self.account, states={S.SUBMITTED})
        unknown = {order.client_order_id: order for order in submitted if order.unknown_since is not None}
        due = [
            order
            for name, order in unknown.items()
            if name not in told.unknown and order.unknown_since is not None and now - order.unknown_since >= patience
        ]
        names = frozenset(told.unknown & unknown.keys()) | {order.client_order_id for order in due}
        return replace(told, unknown=names), [news.order_unknown(order, now, mode=self.mode) for order in due]

    async def _halt(self, told: Told, settings: AlertSettings) -> tuple[Told, list[Alert]]:
        del settings
        halt = await self.halts()
        key = halt.key if halt else ""
        if key == told.halt:
            return told, []
        now = self.clock.now()
        if halt is None:
            reason, group = told.halt.partition(" ")[2], told.halt_group
            resumed = news.trading_resumed(self.account, now, reason=reason, group=group)
            return replace(told, halt="", halt_group=""), [resumed]
        group = f"halt by {halt.actor}" if halt.flaps else ""
        alert = news.trading_halted(
            self.account, now, reason=halt.reason, actor=halt.actor, title=halt.title, group=group
        )
        return replace(told, halt=key, halt_group=group), [alert]

    async def _life(self, told: Told, settings: AlertSettings) -> tuple[Told, list[Alert]]:
        """The desk came up, which is the gate that opened; or somebody stops it."""
        del settings
        state, now = self.store.desk, self.clock.now()
        gate, desk = await state.attribute(self.account, GATE), await state.attribute(self.account, DESK)
        is_open = gate is not None and bool(gate.value.get("open"))
        is_stopping = desk is not None and bool(desk.value.get("stopping")) and (gate is None or desk.at >= gate.at)
        if is_stopping and told.is_up:
            return replace(told, is_up=False), [news.desk_stopped(self.account, now, await self._facts())]
        if gate is None or not is_open or is_stopping:
            return (told if is_open or not told.is_up else replace(told, is_up=False)), []
        if told.is_up and told.gate_at == gate.at.isoformat():
            return told, []
        told = replace(told, is_up=True, gate_at=gate.at.isoformat())
        return told, [news.desk_started(self.account, now, await self._facts())]

    async def _summary(self, told: Told, settings: AlertSettings) -> tuple[Told, list[Alert]]:
        day = is_due(settings.daily_summary, told.summary_on, self.clock.now())
        if day is None:
            return told, []
        alert = await summary_of(self.store, self.account, self.clock.now(), told, mode=self.mode)
        return replace(told, summary_on=day, realized={}), [alert]

    async def _facts(self) -> dict[str, str]:
        positions = await self.store.account.positions(self.account)
        orders = await self.store.orders.find(self.account, states={S.SUBMITTED, S.ACCEPTED, S.PARTIALLY_FILLED})
        return {
            "Mode": self.mode,
            "Positions": str(len(positions.value)) if positions else "not known yet",
            "Open orders": str(len(orders)),
        }


def _latest(events: Iterable[tuple[OrderEvent, Order]]) -> list[tuple[OrderEvent, Order]]:
    """One piece of news for each order: its last change, where it is one that people should know."""
    latest: dict[str, tuple[OrderEvent, Order]] = {}
    for event, order in events:
        grew = event.new_state is S.PARTIALLY_FILLED and event.detail != "cancel requested"
        if event.new_state in TOLD_STATES and (event.new_state is not event.old_state or grew):
            latest.pop(event.client_order_id, None)
            latest[event.client_order_id] = event, order
    return list(latest.values())


def _facts(alert: Alert) -> tuple[tuple[str, str], ...]:
    return (*alert.fields, ("Reason", alert.text)) if alert.text else alert.fields
