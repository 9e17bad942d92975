"""What a fill, a cancel or a deposit does to an account. Every movement of cash passes through `post`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal

from kontor.paper.accounts import Account, Accounts, lot_tick_value
from kontor.paper.changes import Changes, Feed, Sequences
from kontor.paper.margin import USD
from kontor.paper.model import CANCELED, FILLED, PARTIALLY_FILLED, ZERO, Bill, Event, Fill, Instrument, Order
from kontor.paper.positions import PositionState


class Settlement:
    """Writes to accounts and notes what it wrote."""

    def __init__(self, accounts: Accounts, sequences: Sequences, changes: Changes, feed: Feed) -> None:
        self._accounts = accounts
        self._sequences = sequences
        self._changes = changes
        self._feed = feed
        self.on_filled: Callable[[Order, int], None] | None = None  # told of filled orders that bring exits along

    def post(self, account: Account, ccy: str, change: Decimal, kind: str, ref: str, inst_id: str, at: int) -> None:
        """Move cash: the only place that does."""
        if not change:
            return
        balance = account.cash.get(ccy, ZERO) + change
        account.cash[ccy] = balance
        bill = Bill(self._sequences.next_bill(), account.info.name, ccy, change, balance, kind, ref, inst_id, at)
        account.bills.append(bill)
        self._changes.bills.append(bill)
        self.touch(account, at)

    def touch(self, account: Account, at: int) -> None:
        """Note that an account changed."""
        account.u_time = at
        self._changes.accounts[account.info.name] = account

    def note(self, order: Order, at: int) -> None:
        """Note that an order changed."""
        order.u_time = at
        self._changes.orders[order.ord_id] = order
        self.touch(self._accounts[order.account], at)
        if self._feed.listening:
            self._feed.emit(Event("orders", order.account, order.inst_id, copy.copy(order), at))

    def fill(
        self, order: Order, instrument: Instrument, px_ticks: int, lots: int, role: str, trade_id: str, at: int
    ) -> None:
        """Book `lots` of an order at a price; `role` is T for the taker, M for the maker, whose frozen funds this
        releases.
        """
        account = self._accounts[order.account]
        if role == "M":
            account.hold(order, instrument, -1)
        px, quantity = px_ticks * instrument.tick_sz, lots * instrument.lot_sz
        value = lots * px_ticks * lot_tick_value(instrument)
        rate = instrument.taker_fee if role == "T" else instrument.maker_fee
        if instrument.is_swap:
            fee, fee_ccy, pnl = (
                value * rate,
                USD,
                self._swap(account, order, instrument, px_ticks, lots, trade_id, value * rate, at),
            )
        else:
            pnl = ZERO
            fee, fee_ccy = (
                (quantity * rate, instrument.base_ccy) if order.side == "buy" else (value * rate, instrument.quote_ccy)
            )
            sign = 1 if order.side == "buy" else -1
            self.post(account, instrument.quote_ccy, -sign * value, "trade", trade_id, instrument.inst_id, at)
            self.post(account, instrument.base_ccy, sign * quantity, "trade", trade_id, instrument.inst_id, at)
        self.post(account, fee_ccy, fee, "fee", trade_id, instrument.inst_id, at)
        self._advance_order(order, px, quantity, lots, at)
        order.fee += fee
        order.fee_ccy, order.pnl = fee_ccy, order.pnl + pnl
        order.trade_id, order.exec_type, order.fill_fee, order.fill_pnl = trade_id, role, fee, pnl
        if role == "M":
            account.hold(order, instrument, 1)
        self._record(account, order, rate, at)

    @staticmethod
    def _advance_order(order: Order, px: Decimal, quantity: Decimal, lots: int, at: int) -> None:
        order.lots_filled += lots
        order.acc_fill_sz += quantity
        order.notional += px * quantity
        order.avg_px = order.notional / order.acc_fill_sz
        order.fill_px, order.fill_sz, order.fill_time = px, quantity, at
        order.state = FILLED if order.lots_filled >= order.lots else PARTIALLY_FILLED

    def _swap(
        self,
        account: Account,
        order: Order,
        instrument: Instrument,
        px_ticks: int,
        lots: int,
        trade_id: str,
        fee: Decimal,
        at: int,
    ) -> Decimal:
        """Book a swap fill into the position; returns the profit it realizes."""
        position = account.positions.get(order.inst_id)
        if position is None:
            position = PositionState(account.info.name, order.inst_id, self._sequences.next_position())
            account.positions[order.inst_id] = position
        pnl = position.apply(lots if order.side == "buy" else -lots, px_ticks * lot_tick_value(instrument), at)
        position.fee += fee
        position.trade_id = trade_id
        self._changes.positions[account.info.name, order.inst_id] = position
        self.post(account, USD, pnl, "pnl", trade_id, order.inst_id, at)
        return pnl

    def _record(self, account: Account, order: Order, rate: Decimal, at: int) -> None:
        """Keep the order's last fill and say so."""
        fill = Fill(
            account=order.account,
            inst_id=order.inst_id,
            inst_type=order.inst_type,
            trade_id=order.trade_id,
            ord_id=order.ord_id,
            cl_ord_id=order.cl_ord_id,
            bill_id=self._sequences.next_bill(),
            tag=order.tag,
            side=order.side,
            fill_px=order.fill_px or ZERO,
            fill_sz=order.fill_sz,
            exec_type=order.exec_type,
            fee=order.fill_fee,
            fee_ccy=order.fee_ccy,
            fee_rate=rate,
            fill_pnl=order.fill_pnl,
            ts=at,
        )
        account.fills.append(fill)
        self._changes.fills.append(fill)
        if self._feed.listening:
            self._feed.emit(Event("fills", order.account, order.inst_id, fill, at))
        if order.state == FILLED:
            account.retire(order)
        self.note(order, at)
        if order.state == FILLED and order.attached and self.on_filled:
            self.on_filled(order, at)

    def cancel(self, order: Order, source: str, reason: str, at: int) -> None:
        """Close an order with what it has; its frozen funds are the caller's to release."""
        order.state, order.cancel_source, order.cancel_source_reason = CANCELED, source, reason
        self._accounts[order.account].retire(order)
        self.note(order, at)
