"""stream-account: orders, fills, positions and balance as the venue tells them, within milliseconds."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.order import FINISHED, Order, OrderReport, apply_report
from kontor.errors import ExchangeError
from kontor.execution.journal import Change, Journal
from kontor.execution.track import track
from kontor.streams.streamer import LOOK_SECONDS, Streamer, StreamParts

logger = logging.getLogger(__name__)

CHANNELS = ("orders", "fills", "positions", "balance")
# What was asked before the subscription stood may have changed before it did.
SETTLE_SECONDS = 0.5
# Every balance that is stored is a line of its history: marks that move a little are told now and then only.
BALANCE_SECONDS = 30.0
# A position told by one message may not contain what another one, still on its way, tells of other symbols: a snapshot
# is stamped this long before it was heard, and once more when nothing has changed since. Until then the gate adds the
# fills in between to it, twice rather than never.
LAG = timedelta(seconds=2)
# More changes than this are not told during one request.
MOST_TOLD = 1000
MATERIAL = Decimal("0.001")


class AccountStreamer(Streamer):
    """Applies what the venue tells of the account; after each gap, and now and then, it asks by REST as well."""

    name = "stream-account"

    def __init__(self, parts: StreamParts) -> None:
        super().__init__(parts)
        self._journal = Journal(parts.store.orders, parts.clock, self.name)
        self._open: dict[tuple[str, str], OrderReport] = {}
        self._positions: dict[str, tuple[Position, ...]] = {}
        self._reconciled_gaps, self._not_reconciled = -1, ""
        self._reconciled_at = float("-inf")
        self._connected_at: float | None = None
        self._balance: Balance | None = None
        # Up to which gap the orders and positions here are all there are: what is told after a gap says nothing of the
        # others, and taken for a snapshot it would say that they are gone.
        self._orders_gaps = self._positions_gaps = -1
        # Since when positions have been as they are, until that is stored.
        self._positions_at: datetime | None = None
        # What the streams have told while a reconciliation was under way: newer than what it is about to be answered.
        self._told_orders: list[OrderReport] = []
        self._told_positions: dict[str, tuple[Position, ...]] = {}

    def channels(self) -> tuple[str, ...]:
        """What the venue streams of the account."""
        return tuple(name for name in CHANNELS if name in self.parts.streams.channels)

    def readers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One reader for each channel, and one who asks by REST."""
        reads: Mapping[str, Callable[[], Awaitable[None]]] = {
            "orders": self._read_orders,
            "fills": self._read_fills,
            "positions": self._read_positions,
            "balance": self._read_balance,
        }

        def reader(channel: str) -> Callable[[], Awaitable[None]]:
            return lambda: self.reading(channel, reads[channel])

        children = {channel: reader(channel) for channel in self.channels()}
        return {**children, "REST": lambda: self.catching_up(self._is_behind, self._reconcile)}

    async def second(self) -> None:
        """Fresh is: connected, subscribed, and reconciled since the last gap."""
        if not self._delivers():
            self._connected_at = None
            self._all_stale("; ".join(self.troubles.values()) or "not connected")
        elif self._reconciled_gaps != self.gaps:
            self._all_stale(self._not_reconciled or "reconciling after a gap")
        else:
            self._all_fresh()

    def _delivers(self) -> bool:
        """Every channel is heard: what happens from now on will be."""
        return not self.troubles and all(self.parts.streams.is_live(channel) for channel in self.channels())

    def _is_behind(self) -> bool:
        """Something was missed and the streams stand, or it is time to compare anyway."""
        now = self.parts.clock.monotonic()
        if not self._delivers():
            return False
        if self._connected_at is None:
            self._connected_at = now
        if self._reconciled_gaps != self.gaps:
            return now - self._connected_at >= SETTLE_SECONDS
        return now - self._reconciled_at >= self.parts.config.streams.reconcile_seconds

    async def _reconcile(self) -> None:
        """Ask the venue for everything that is streamed; what happened in a gap is never told."""
        parts, gaps = self.parts, self.gaps
        try:
            await self._ask_orders()
            await track(parts, actor=self.name)
            await self._ask_positions()
            await self._save_balance(await parts.exchange.fetch_balance())
        except ExchangeError as error:
            if self._reconciled_gaps != gaps:
                self._not_reconciled = f"not reconciled: {error}"
            else:
                # Nothing was missed as far as we know: the streams are believed, and compared the next time round.
                logger.warning("stream_not_compared account=%s error=%s", parts.account, error)
                self._reconciled_at = parts.clock.monotonic()
            return
        oldest = parts.clock.now() - timedelta(days=parts.config.history.balances_days)
        await parts.store.account.prune_balances(parts.account, before=oldest)
        if gaps != self._reconciled_gaps:
            logger.info("stream_reconciled account=%s open_orders=%d gaps=%d", parts.account, len(self._open), gaps)
        self._reconciled_gaps, self._not_reconciled = gaps, ""
        self._reconciled_at = parts.clock.monotonic()

    async def _ask_orders(self) -> None:
        self._told_orders.clear()
        # The moment before the request counts: an order sent while the answer is under way may be missing from it.
        asked_at, gaps = self.parts.clock.now(), self.gaps
        orders = await self.parts.exchange.fetch_open_orders()
        self._open = {_order_of(order): order for order in orders}
        self._note_orders(self._told_orders)
        self._orders_gaps = gaps
        await self._save_open_orders(asked_at)

    async def _ask_positions(self) -> None:
        self._told_positions.clear()
        asked_at, gaps = self.parts.clock.now(), self.gaps
        self._positions = _by_symbol(await self.parts.exchange.fetch_positions())
        self._positions |= self._told_positions
        self._positions_gaps = gaps
        if self._positions_at is not None and self._positions_at <= asked_at:
            # What was told before is in the answer, which is newer.
            self._positions_at = None
        await self._save_positions(asked_at)

    async def _read_orders(self) -> None:
        reports = await self.parts.streams.orders(seconds=LOOK_SECONDS)
        heard_at = self.parts.clock.now()
        if reports:
            await self._apply(reports)
            self._told_orders = [*self._told_orders, *reports][-MOST_TOLD:]
            self._note_orders(reports)
            if self._orders_gaps == self.gaps:
                await self._save_open_orders(heard_at)

    def _note_orders(self, reports: Sequence[OrderReport]) -> None:
        for report in reports:
            if report.state in FINISHED:
                self._open.pop(_order_of(report), None)
            else:
                self._open[_order_of(report)] = report

    async def _save_open_orders(self, at: datetime) -> None:
        parts = self.parts
        await parts.store.account.save_open_orders(parts.account, list(self._open.values()), at)

    async def _apply(self, reports: Sequence[OrderReport]) -> None:
        """Bring our orders to what the venue says; those of others are none of ours."""
        owners = await self._owners(reports)
        changes = []
        for report in reports:
            order = owners.get(_order_of(report))
            if order is not None:
                changes.append(Change(order, _applying(report), "stream"))
        if changes:
            await self._journal.change_all(changes)

    async def _read_fills(self) -> None:
        fills = await self.parts.streams.fills(seconds=LOOK_SECONDS)
        if not fills:
            return
        owners = await self._owners(fills)
        named = [
            # The venue's client id is not our name for somebody else's order: who adopts that takes its fills along.
            replace(fill, client_order_id=owners[key].client_order_id if key in owners else None)
            for fill, key in ((fill, _order_of(fill)) for fill in fills)
        ]
        new = await self.parts.store.orders.save_fills(self.parts.account, named)
        for key in dict.fromkeys(map(_order_of, new)):
            order = owners.get(key)
            if order is not None:
                await self._journal.book_fills(order)

    async def _owners(self, told: Sequence[OrderReport] | Sequence[Fill]) -> Mapping[tuple[str, str], Order]:
        """Our orders by symbol and the venue's ids; one whose id is not known yet is found by ours."""
        orders, account = self.parts.store.orders, self.parts.account
        owners = dict(await orders.by_venue_order_id(account, {each.venue_order_id for each in told}))
        for each in told:
            if _order_of(each) not in owners and each.client_order_id:
                order = await orders.get(each.client_order_id)
                if order is not None and order.account == account:
                    owners[_order_of(each)] = order
        return owners

    async def _read_positions(self) -> None:
        changed = await self.parts.streams.positions(seconds=LOOK_SECONDS)
        now = self.parts.clock.now()
        if changed:
            self._told_positions |= changed
            self._positions |= changed
            self._positions_at = now
            if self._positions_gaps == self.gaps:
                await self._save_positions(now - LAG)
        elif self._positions_at is not None and now - self._positions_at >= LAG and self._positions_gaps == self.gaps:
            at, self._positions_at = self._positions_at, None
            await self._save_positions(at)

    async def _save_positions(self, at: datetime) -> None:
        """Store them, true at `at`: each fill until then is in them."""
        parts, held = self.parts, list(chain.from_iterable(self._positions.values()))
        await parts.store.account.save_positions(parts.account, held, at)

    async def _read_balance(self) -> None:
        balance = await self.parts.streams.balance(seconds=LOOK_SECONDS)
        if balance is not None and self._is_news(balance):
            await self._save_balance(balance)

    def _is_news(self, balance: Balance) -> bool:
        known = self._balance
        if known is None or (balance.at - known.at).total_seconds() >= BALANCE_SECONDS:
            return True
        moved = max(abs(balance.total - known.total), abs(balance.free - known.free))
        return moved > MATERIAL * abs(known.total) or balance.currencies.keys() != known.currencies.keys()

    async def _save_balance(self, balance: Balance) -> None:
        self._balance = balance
        await self.parts.store.account.save_balance(self.parts.account, balance)

    def _all_fresh(self) -> None:
        for channel in self.channels():
            self.freshness.fresh(channel)

    def _all_stale(self, reason: str) -> None:
        for channel in self.channels():
            self.freshness.stale(channel, reason)


def _order_of(told: OrderReport | Fill) -> tuple[str, str]:
    # With the symbol: some venues number the orders of each market anew.
    return told.symbol, told.venue_order_id


def _applying(report: OrderReport) -> Callable[[Order], Order]:
    return lambda stored: apply_report(stored, report)


def _by_symbol(positions: Sequence[Position]) -> dict[str, tuple[Position, ...]]:
    found: dict[str, tuple[Position, ...]] = {}
    for position in positions:
        found[position.symbol] = (*found.get(position.symbol, ()), position)
    return found
