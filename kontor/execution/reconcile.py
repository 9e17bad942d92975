"""Reconciling with the venue: its orders, fills, positions and balance against ours. The venue is believed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from kontor.domain.fill import Fill
from kontor.domain.identity import is_foreign
from kontor.domain.order import LIVE, OrderReport, OrderType, apply_report, reopen
from kontor.domain.outside import OutsideKind, OutsideMove, Transfer
from kontor.domain.protection import waits_for_entry
from kontor.domain.reconcile import Drift, adopted, match
from kontor.errors import AuthenticationFailed, ExchangeError, NotSupported, OrderNotFound, Rejected
from kontor.execution.baseline import load_baseline
from kontor.execution.drift import compare_holdings
from kontor.execution.halt import halt
from kontor.execution.journal import Journal
from kontor.execution.lookup import CLOCK_SLACK
from kontor.execution.parts import Parts
from kontor.execution.track import TrackReport, track
from kontor.ports import Alert, Notifier

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ReconcileReport:
    """What a reconciliation found, and did about it."""

    open_orders: int = 0
    adopted: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    # With our own prefix, yet not in our store.
    forgotten: list[str] = field(default_factory=list)
    reopened: list[str] = field(default_factory=list)
    new_fills: int = 0
    # Fills whose order the venue no longer knows: saved, but booked to no order.
    unowned_fills: list[str] = field(default_factory=list)
    # What happened outside the desk and is booked as such: an operator's hand is normal.
    outside: tuple[OutsideMove, ...] = ()
    # What neither fills nor transfers explain, with figures; booked as well.
    drift: tuple[Drift, ...] = ()
    tracked: TrackReport = field(default_factory=TrackReport)

    @property
    def is_clean(self) -> bool:
        """Nothing was found that a person should look at."""
        return not (self.adopted or self.outside or self.needs_a_look)

    @property
    def needs_a_look(self) -> bool:
        """Something was found that an operator's hand does not explain."""
        return bool(self.foreign or self.forgotten or self.reopened or self.unowned_fills or self.drift)

    @property
    def severity(self) -> str:
        """Of the alert about it: drift and a liquidation are emergencies, a trade by hand is news."""
        forced = {OutsideKind.LIQUIDATION, OutsideKind.AUTO_DELEVERAGING}
        if self.drift or any(move.kind in forced for move in self.outside):
            return "critical"
        return "warning" if self.needs_a_look else "info"

    def __str__(self) -> str:
        parts = [f"{self.open_orders} open orders, {self.new_fills} new fills"]
        parts += [f"adopted {', '.join(self.adopted)}"] if self.adopted else []
        parts += [f"reopened {', '.join(self.reopened)}"] if self.reopened else []
        parts += [f"orders of another Kontor desk: {', '.join(self.foreign)}"] if self.foreign else []
        parts += [f"orders of ours that the store forgot: {', '.join(self.forgotten)}"] if self.forgotten else []
        parts += [f"fills without an order: {', '.join(self.unowned_fills)}"] if self.unowned_fills else []
        parts += [f"outside: {', '.join(map(str, self.outside))}"] if self.outside else []
        parts += [f"drift: {'; '.join(map(str, self.drift))}"] if self.drift else []
        return "; ".join(parts)


async def reconcile(
    parts: Parts, *, actor: str = "reconcile-orders", notifier: Notifier | None = None
) -> ReconcileReport:
    """Compare everything with the venue and mend our books.

    Orders that somebody else placed are adopted as EXTERNAL and never canceled; those of another Kontor desk halt
    trading. Missed fills are booked by trade id. Trades by hand, partial closes, liquidations and transfers are booked
    as moves from outside; what nothing explains is reported as drift, with figures.
    """
    work = _Reconciliation(parts, actor, notifier)
    await work.orders()
    await work.begin()
    await work.collect()
    work.report.tracked = await track(parts, actor=actor)
    compared = await compare_holdings(parts, work)
    work.report.outside, work.report.drift = compared.moves, compared.drift
    for drift in work.report.drift:
        log.warning("drift account=%s %s", parts.account, drift)
    if not work.report.is_clean:
        title = "Reconciliation found differences" if work.report.needs_a_look else "Activity outside the desk"
        event = "drift" if work.report.drift else "reconcile.differences"
        about = tuple(sorted({drift.name for drift in work.report.drift}))
        work.alert(title, str(work.report), work.report.severity, event, about=about)
    return work.report


async def own_strays(parts: Parts, *, actor: str, since: datetime) -> int:
    """Find out whose the stored fills are that belong to no order yet: the venue is asked for the orders behind them.

    Those of others are adopted. Returns how many fills there were.
    """
    owned = await parts.store.orders.owned_fills(parts.account, since=since)
    strays = [fill for _, fill in owned if fill.client_order_id is None]
    if strays:
        await _Reconciliation(parts, actor, None).book(strays)
    return len(strays)


class _Reconciliation:
    def __init__(self, parts: Parts, actor: str, notifier: Notifier | None) -> None:
        self._parts, self._actor, self._notifier = parts, actor, notifier
        self._journal = Journal(parts.store.orders, parts.clock, actor)
        self.report = ReconcileReport()
        # From when fills and transfers are asked for.
        self._since = parts.clock.now()
        # None once the venue has said that it does not list them.
        self.transfers: dict[str, Transfer] | None = {}

    async def orders(self) -> None:
        """Match the venue's open orders with ours; each is known, contradicted, external or foreign."""
        parts, store = self._parts, self._parts.store
        at = parts.clock.now()
        reports = await parts.exchange.fetch_open_orders()
        await store.account.save_open_orders(parts.account, reports, at)
        self.report.open_orders = len(reports)
        by_venue = await store.orders.by_venue_order_id(parts.account, [report.venue_order_id for report in reports])
        names = [report.client_order_id for report in reports if report.client_order_id]
        found = [await store.orders.get(name) for name in names if name]
        ours = {order.client_order_id: order for order in found if order is not None and order.account == parts.account}
        matches = match(reports, ours, by_venue, await store.desk.desk_prefix())
        for order, report in matches.known:
            await self._journal.change(order, lambda stored, report=report: apply_report(stored, report))
        for order, report in matches.contradicted:
            await self._contradicted(order.client_order_id, report)
        for report in (*matches.external, *matches.foreign):
            await self._adopt(report)
        for report in matches.foreign:
            await self._foreign(report.client_order_id or report.venue_order_id)

    async def begin(self) -> None:
        """Decide from when fills are asked for: the last reconciliation, or our oldest live order."""
        parts = self._parts
        baseline = await load_baseline(parts.store.desk, parts.account)
        live = await parts.store.orders.find(parts.account, states=LIVE, limit=10_000)
        moments = [order.submitted_at for order in live if order.submitted_at is not None]
        moments.append(baseline.at if baseline else parts.clock.now())
        self._since = min(moments) - CLOCK_SLACK

    async def collect(self) -> int:
        """Book the fills the venue has, and note its transfers; how many were new."""
        return await self._fills() + await self._transfers()

    async def _transfers(self) -> int:
        if self.transfers is None:
            return 0
        try:
            found = await self._parts.exchange.fetch_transfers(self._since)
        except (NotSupported, Rejected, AuthenticationFailed) as error:
            log.info("transfers not listed account=%s error=%s", self._parts.account, error)
            self.transfers = None
            return 0
        known = len(self.transfers)
        self.transfers |= {transfer.name: transfer for transfer in found}
        return len(self.transfers) - known

    async def _fills(self) -> int:
        return await self.book(await self._fetch_fills(self._since))

    async def book(self, fills: Sequence[Fill]) -> int:
        """Save fills with the orders they belong to, adopting those of others; how many were new."""
        parts = self._parts
        prefix = await parts.store.desk.desk_prefix()
        for foreign in {fill.client_order_id for fill in fills if is_foreign(prefix, fill.client_order_id)}:
            await self._foreign(str(foreign))
        named = await self._own(fills)
        # The venue's client ids are not our names for adopted orders: the store links fills by venue order id.
        new = await parts.store.orders.save_fills(
            parts.account, [replace(fill, client_order_id=named.get(_order_of(fill))) for fill in fills]
        )
        self.report.new_fills += len(new)
        owners = await parts.store.orders.by_venue_order_id(parts.account, {fill.venue_order_id for fill in new})
        by_name = [await parts.store.orders.get(name) for name in {*named.values()}]
        for order in {each.client_order_id: each for each in (*owners.values(), *by_name) if each is not None}.values():
            await self._journal.book_fills(order)
        self.report.unowned_fills += [
            fill.trade_id for fill in new if _order_of(fill) not in owners and _order_of(fill) not in named
        ]
        return len(new)

    async def _fetch_fills(self, since: datetime) -> Sequence[Fill]:
        parts = self._parts
        try:
            return await parts.exchange.fetch_fills(since=since)
        except NotSupported:
            # Some venues tell fills by symbol only: then those of our own symbols must do.
            recent = await parts.store.orders.find(parts.account, since=since, limit=10_000)
            symbols = sorted({order.symbol for order in recent})
            return [fill for symbol in symbols for fill in await parts.exchange.fetch_fills(symbol, since=since)]

    async def _own(self, fills: Sequence[Fill]) -> dict[tuple[str, str], str]:
        """Adopt the finished orders behind fills that are not ours, so that every fill belongs to an order.

        Returns our names, by symbol and venue order id, for orders that the venue forgot, though not their fills.
        """
        parts = self._parts
        orders = {_order_of(fill): fill for fill in fills if fill.venue_order_id}
        named: dict[tuple[str, str], str] = {}
        known = await parts.store.orders.by_venue_order_id(parts.account, {name for _, name in orders})
        for key, fill in orders.items():
            if key in known:
                continue
            try:
                report = await parts.exchange.fetch_order(fill.symbol, venue_order_id=fill.venue_order_id)
            except OrderNotFound:
                ours = await parts.store.orders.get(fill.client_order_id) if fill.client_order_id else None
                if ours is not None and ours.account == parts.account:
                    named[key] = ours.client_order_id
                continue
            mine = await parts.store.orders.get(report.client_order_id) if report.client_order_id else None
            if mine is not None and mine.account == parts.account:
                await self._journal.change(mine, lambda stored, report=report: reopen(stored, report))
            else:
                await self._adopt(report)
        return named

    async def _adopt(self, report: OrderReport) -> None:
        parts = self._parts
        order = adopted(report, parts.account, await parts.store.desk.desk_prefix())
        if await parts.store.orders.get(order.client_order_id) is None:
            await parts.store.orders.enqueue([order], self._actor)
            self.report.adopted.append(order.client_order_id)
            log.warning(
                "external order adopted client_order_id=%s venue_order_id=%s symbol=%s side=%s quantity=%s state=%s",
                order.client_order_id,
                order.venue_order_id,
                order.symbol,
                order.side,
                order.quantity,
                order.state,
            )
            if order.client_order_id == report.client_order_id:
                await self._forgotten(order.client_order_id)

    async def _contradicted(self, client_order_id: str, report: OrderReport) -> None:
        """Ours is closed, the list says open: the venue is asked for this one order, and believed."""
        parts = self._parts
        try:
            fresh = await parts.exchange.fetch_order(
                report.symbol, venue_order_id=report.venue_order_id, stop=report.order_type is OrderType.STOP
            )
        except ExchangeError as error:
            log.warning("contradiction not cleared client_order_id=%s error=%s", client_order_id, error)
            return
        order = await parts.store.orders.get(client_order_id)
        if order is None:
            return
        changed = await self._journal.change(order, lambda stored: reopen(stored, fresh), "the venue says it is open")
        # A stop that its entry has brought along is no surprise.
        if order.is_finished and not changed.is_finished and not waits_for_entry(order):
            self.report.reopened.append(client_order_id)

    async def _foreign(self, name: str) -> None:
        if name in self.report.foreign:
            return
        self.report.foreign.append(name)
        reason = f"order {name} was placed by another Kontor desk: two desks trade account {self._parts.account}"
        await self._halt("another desk on this account", reason)

    async def _forgotten(self, name: str) -> None:
        """A store that was restored knows less than the venue; a copy of it that trades looks the same from here."""
        self.report.forgotten.append(name)
        reason = (
            f"order {name} has this desk's prefix, and its store does not know it: the store is an older backup, or a "
            f"copy of this desk trades account {self._parts.account}; see that no other desk runs, then resume"
        )
        await self._halt("an order that this desk does not remember", reason)

    async def _halt(self, why: str, reason: str) -> None:
        parts, title = self._parts, f"Trading halted: {why}"
        state, now = parts.store.desk, parts.clock.now()
        found = await halt(state, parts.account, reason, actor=self._actor, at=now, title=title)
        if found.title != title:
            # Halted before, for another reason: no new halt will be told, and this must be known all the same.
            self.alert(why.capitalize(), reason, "critical", "reconcile.differences")

    def alert(self, title: str, text: str, severity: str, event: str, *, about: tuple[str, ...] = ()) -> None:
        """Tell a person, if the desk has a way to; drift that lasts is one story, until it is of something else too."""
        if self._notifier is not None:
            at, account = self._parts.clock.now(), self._parts.account
            group = event if about else ""
            self._notifier.notify(Alert(title, text, severity, at, account, event=event, group=group, about=about))


def _order_of(fill: Fill) -> tuple[str, str]:
    return fill.symbol, fill.venue_order_id
