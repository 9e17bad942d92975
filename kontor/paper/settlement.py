"""What a fill, a cancel, a funding payment or a transfer does to an account. Every movement of cash passes through
`post`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kontor.paper.accounts import Account, Accounts, lot_tick_value
from kontor.paper.changes import Changes, Feed, Sequences
from kontor.paper.executions import BOUGHT, DELIVERY, SOLD, Execution
from kontor.paper.fees import fee_of
from kontor.paper.margin import USD, Prices
from kontor.paper.model import CANCELED, FILLED, PARTIALLY_FILLED, ZERO, Bill, Event, Fill, Instrument, Order
from kontor.paper.positions import PositionState

_TINY = Decimal("1e-12")


class Settlement:
    """Writes to accounts and notes what it wrote."""

    def __init__(self, accounts: Accounts, sequences: Sequences, changes: Changes, feed: Feed, prices: Prices) -> None:
        self._accounts = accounts
        self._sequences = sequences
        self._changes = changes
        self._feed = feed
        self._prices = prices
        self.on_filled: Callable[[Order, int], None] | None = None  # told of filled orders that bring exits along
        self.touched: set[str] = set()  # accounts changed since somebody last looked

    def post(
        self,
        account: Account,
        at: int,
        ccy: str,
        change: Decimal,
        kind: str,
        *,
        ref: str = "",
        inst_id: str = "",
        bill_id: str = "",
        pos_change: Decimal = ZERO,
        **more: Any,
    ) -> None:
        """Move cash: the only place that does. `more` are further fields of the Bill."""
        if not change and not pos_change:
            return
        balance = account.cash.get(ccy, ZERO) + change
        account.cash[ccy] = balance
        number = bill_id or self._sequences.next_bill()
        name = account.info.name
        bill = Bill(number, name, ccy, change, balance, kind, ref, inst_id, at, pos_change=pos_change, **more)
        account.bills.append(bill)
        self._changes.bills.append(bill)
        self.touch(account, at)

    def move(
        self, account: Account, ccy: str, change: Decimal, ref: str, at: int, between: tuple[str, str] | None = None
    ) -> None:
        """Book funds that come (positive) or go other than by trading; `between` names OKX's accounts, the funding and
        the trading one unless others are given.
        """
        source, target = between or (("6", "18") if change > 0 else ("18", "6"))
        sub_type = "11" if change > 0 else "12"
        about = {"sub_type": sub_type, "sz": abs(change), "source": source, "target": target}
        self.post(account, at, ccy, change, "transfer", ref=ref, **about)

    def touch(self, account: Account, at: int) -> None:
        """Note that an account changed."""
        account.u_time = at
        self.touched.add(account.info.name)
        self._changes.accounts[account.info.name] = account

    def note(self, order: Order, at: int) -> None:
        """Note that an order changed."""
        order.u_time = at
        self._changes.orders[order.ord_id] = order
        self.touch(self._accounts[order.account], at)
        if self._feed.listening:
            self._feed.emit(Event("orders", order.account, order.inst_id, copy.copy(order), at))

    def note_position(self, account: Account, position: PositionState) -> None:
        """Note that a position changed."""
        self._changes.positions[account.info.name, position.leg] = position
        self.touched.add(account.info.name)

    def fill(
        self, order: Order, instrument: Instrument, px_ticks: int, lots: int, role: str, trade_id: str, at: int
    ) -> None:
        """Book `lots` of an order at a price; `role` is T for the taker, M for the maker, whose frozen funds this
        releases.
        """
        account = self._accounts[order.account]
        if role == "M":
            account.hold(order, instrument, -1)
        done = Execution(order, instrument, px_ticks, lots, role, trade_id, at)
        rate = instrument.taker_fee if role == "T" else instrument.maker_fee
        if order.category == DELIVERY:
            rate = ZERO
        fee, fee_ccy = fee_of(account, done.instrument, order.side, done.quantity, done.value, rate, self._prices)
        bill_id = self._sequences.next_bill()
        settle = self._swap if instrument.is_swap else self._spot
        pnl = settle(account, done, bill_id, fee, fee_ccy)
        self._advance_order(order, done.px, done.quantity, lots, at)
        # An order shows its fee in one currency: that of its last fill. The fills tell all.
        order.fee = fee + (order.fee if order.fee_ccy in {"", fee_ccy} else ZERO)
        order.fee_ccy, order.pnl = fee_ccy, order.pnl + pnl
        order.trade_id, order.exec_type, order.fill_fee, order.fill_pnl = trade_id, role, fee, pnl
        if role == "M":
            account.hold(order, instrument, 1)
        self._record(account, done, bill_id, rate)

    @staticmethod
    def _advance_order(order: Order, px: Decimal, quantity: Decimal, lots: int, at: int) -> None:
        order.lots_filled += lots
        order.acc_fill_sz += quantity
        order.notional += px * quantity
        order.avg_px = order.notional / order.acc_fill_sz
        order.fill_px, order.fill_sz, order.fill_time = px, quantity, at
        order.state = FILLED if order.lots_filled >= order.lots else PARTIALLY_FILLED

    def _spot(self, account: Account, done: Execution, bill_id: str, fee: Decimal, fee_ccy: str) -> Decimal:
        """Exchange two currencies: one bill for each, the fee within the one it is paid in."""
        instrument = done.instrument
        sign = 1 if done.order.side == "buy" else -1
        legs = (
            (instrument.base_ccy, sign * done.quantity, BOUGHT if sign > 0 else SOLD, bill_id),
            (instrument.quote_ccy, -sign * done.value, SOLD if sign > 0 else BOUGHT, ""),
        )
        for ccy, change, sub_type, own_id in legs:
            part = fee if ccy == fee_ccy else ZERO
            self._post_trade(
                account, done, ccy, change + part, bill_id=own_id, sub_type=sub_type, fee=part, sz=abs(change)
            )
        if fee_ccy not in {instrument.base_ccy, instrument.quote_ccy}:
            self._post_trade(account, done, fee_ccy, fee, sub_type=done.sub_type, fee=fee, sz=abs(fee))
        return ZERO

    def _swap(self, account: Account, done: Execution, bill_id: str, fee: Decimal, fee_ccy: str) -> Decimal:
        """Book a swap fill into its position; returns the profit it realizes."""
        order, instrument = done.order, done.instrument
        position = account.positions.get(order.leg)
        if position is None:
            position = PositionState(
                account.info.name,
                order.inst_id,
                self._sequences.next_position(),
                mgn_mode=order.td_mode,
                pos_side=order.pos_side,
            )
            account.positions[order.leg] = position
        held, lot_value = position.lots, done.px_ticks * lot_tick_value(instrument)
        pnl = position.apply(done.lots if order.side == "buy" else -done.lots, lot_value, done.at)
        moved = self._isolate(account, position, instrument, held, lot_value) if position.isolated else ZERO
        position.fee += fee if fee_ccy == USD else ZERO
        position.trade_id = done.trade_id
        self.note_position(account, position)
        part = fee if fee_ccy == USD else ZERO
        self._post_trade(
            account,
            done,
            USD,
            pnl + part - moved,
            bill_id=bill_id,
            sub_type=done.sub_type,
            pnl=pnl,
            fee=part,
            sz=done.quantity,
            pos_change=moved,
            pos_balance=position.margin,
        )
        if fee_ccy != USD:
            self._post_trade(account, done, fee_ccy, fee, sub_type=done.sub_type, fee=fee, sz=abs(fee))
        return pnl

    @staticmethod
    def _isolate(
        account: Account, position: PositionState, instrument: Instrument, held: int, lot_value: Decimal
    ) -> Decimal:
        """Move margin into an isolated position for what was opened, or out of it for what was closed; what moved in.

        A fill closes, opens, or first closes everything and then opens.
        """
        before = position.margin
        now = abs(position.lots)
        turned = held and position.lots and (held > 0) != (position.lots > 0)
        kept = ZERO if turned or not held else before * min(now, abs(held)) / abs(held)
        opened = now if turned else max(0, now - abs(held))
        leverage = account.leverage(instrument, position.mgn_mode, position.pos_side)
        position.margin = (kept + opened * lot_value / leverage).quantize(_TINY) if now else ZERO
        return position.margin - before

    def _post_trade(self, account: Account, done: Execution, ccy: str, change: Decimal, **more: Any) -> None:
        """Move cash for a fill; the bill names it."""
        order = done.order
        self.post(
            account,
            done.at,
            ccy,
            change,
            done.kind,
            ref=done.trade_id,
            inst_id=order.inst_id,
            px=done.px,
            ord_id=order.ord_id,
            cl_ord_id=order.cl_ord_id,
            exec_type=done.role,
            trade_id=done.trade_id,
            mgn_mode=order.td_mode,
            tag=order.tag,
            **more,
        )

    def _record(self, account: Account, done: Execution, bill_id: str, rate: Decimal) -> None:
        """Keep the order's last fill and say so."""
        order, at = done.order, done.at
        fill = Fill(
            account=order.account,
            inst_id=order.inst_id,
            inst_type=order.inst_type,
            trade_id=order.trade_id,
            ord_id=order.ord_id,
            cl_ord_id=order.cl_ord_id,
            bill_id=bill_id,
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
            pos_side=order.pos_side,
            sub_type=done.sub_type,
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
