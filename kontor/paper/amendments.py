"""Orders that are there already: found, canceled, changed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kontor.paper.accounts import Account
from kontor.paper.algos.attached import amend_attached
from kontor.paper.intake import Intent, check_price_limit, client_id, flag, in_lots, in_ticks, positive, text
from kontor.paper.matching import Plan
from kontor.paper.model import CANCELED, FILLED, Instrument, Order, OrderAck, VenueError
from kontor.paper.state import State
from kontor.paper.trading import Trading

_CANCEL_UNKNOWN = ("51400", "Order cancellation failed as the order has been filled, canceled or does not exist.")
_CANCEL_CANCELED = ("51401", "Cancellation failed as the order is already canceled.")
_CANCEL_FILLED = ("51402", "Cancellation failed as the order is already completed.")
_AMEND_UNKNOWN = ("51503", "Order modification failed as the order has been filled, canceled or does not exist.")
_AMEND_CANCELED = ("51509", "Modification failed as the order has been canceled.")
_AMEND_FILLED = ("51510", "Modification failed as the order has been completed.")
_AMEND_POST_ONLY = ("51511", "Modification failed as the order price did not meet the requirement for Post Only.")


class Amendments:
    """The rest of the trade group. Time must have been brought up to `at` before."""

    def __init__(self, state: State, trading: Trading) -> None:
        self._state = state
        self._trading = trading

    def find(self, account: Account, inst_id: str, ord_id: str | None, cl_ord_id: str | None) -> Order | None:
        """An order by either id; ordId wins."""
        if not ord_id and not cl_ord_id:
            raise VenueError("51407", "Either order ID or client order ID is required.")
        order = account.by_ord_id.get(ord_id or account.client_ids.get(cl_ord_id or "", ""))
        return order if order is not None and inst_id in ("", order.inst_id) else None

    def cancel(self, name: str, body: Mapping[str, Any], at: int) -> OrderAck:
        """Cancel an order."""
        ord_id, cl_ord_id = text(body, "ordId"), text(body, "clOrdId")
        try:
            self._state.market.instrument(text(body, "instId"))
            order = self.find(self._state.account(name), text(body, "instId"), ord_id, cl_ord_id)
            if order is None:
                raise VenueError(*_CANCEL_UNKNOWN)
            _refuse_finished(order, canceled=_CANCEL_CANCELED, filled=_CANCEL_FILLED)
        except VenueError as refusal:
            return OrderAck(ord_id, cl_ord_id, "", at, refusal.code, refusal.message)
        self._state.cancel(order, "1", "Order canceled by user.", at)
        return OrderAck(order.ord_id, order.cl_ord_id, order.tag, at)

    def cancel_all(self, account: Account, source: str, reason: str, at: int) -> None:
        """Cancel every resting order of an account."""
        for order in list(account.open_orders.values()):
            self._state.cancel(order, source, reason, at)

    def amend(self, name: str, body: Mapping[str, Any], at: int) -> OrderAck:
        """Change a resting order's quantity or price."""
        ord_id, cl_ord_id = text(body, "ordId"), text(body, "clOrdId")
        order, cancel_on_fail = None, False
        try:
            client_id(body, "reqId")
            cancel_on_fail = flag(body, "cxlOnFail")
            account = self._state.account(name)
            order = self.find(account, text(body, "instId"), ord_id, cl_ord_id)
            if order is None:
                raise VenueError(*_AMEND_UNKNOWN)
            _refuse_finished(order, canceled=_AMEND_CANCELED, filled=_AMEND_FILLED)
            self._amend(account, order, body, at)
        except VenueError as refusal:
            if order is not None and order.is_open and cancel_on_fail:
                self._state.cancel(order, "1", "Order canceled because its modification failed.", at)
            return OrderAck(ord_id, cl_ord_id, "", at, refusal.code, refusal.message)
        return OrderAck(order.ord_id, order.cl_ord_id, order.tag, at)

    def _amend(self, account: Account, order: Order, body: Mapping[str, Any], at: int) -> None:
        instrument, state = self._state.market.instrument(order.inst_id), self._state
        new_sz, new_px = text(body, "newSz"), text(body, "newPx")
        attached = amend_attached(body, order.attached, instrument, order.side, order.px)
        if not new_sz and not new_px:
            if attached != order.attached:
                order.attached = attached
                state.settlement.note(order, at)
                return
            raise VenueError("50014", "Parameter newSz cannot be empty")
        lots = in_lots(positive(new_sz, "newSz"), instrument) if new_sz else order.lots
        px, px_ticks = in_ticks(positive(new_px, "newPx"), instrument) if new_px else (order.px, order.px_ticks)
        if lots <= order.lots_filled:
            raise VenueError(*_AMEND_FILLED)
        intent = _as_intent(order, instrument, lots - order.lots_filled, px, px_ticks)
        check_price_limit(intent, state.market, at)
        state.lift(order)
        try:
            matched = self._replanned(account, order, intent)
        except VenueError:
            state.rest(order)
            raise
        if px_ticks != order.px_ticks or lots > order.lots:
            order.seq = state.sequences.next_rank()
        order.attached = attached
        order.lots, order.px, order.px_ticks, order.sz = lots, px, px_ticks, lots * instrument.lot_sz
        state.settlement.note(order, at)
        self._trading.enter(order, instrument, matched, at)

    def _replanned(self, account: Account, order: Order, intent: Intent) -> Plan:
        """What the changed order would trade at once, or VenueError; the order is out of the book meanwhile."""
        wanted = intent.lots or 0
        matched = Plan()
        if intent.px_ticks != order.px_ticks:
            takes = min(wanted, self._state.closable(order)) if order.reduce_only else wanted
            matched = self._trading.plan(account, intent, takes)
            if order.ord_type == "post_only" and (matched.matches or matched.self_trades):
                raise VenueError(*_AMEND_POST_ONLY)
        if not order.reduce_only:
            self._trading.check_funds(account, intent, wanted, matched)
        return matched


def _refuse_finished(order: Order, canceled: tuple[str, str], filled: tuple[str, str]) -> None:
    if order.state == CANCELED:
        raise VenueError(*canceled)
    if order.state == FILLED:
        raise VenueError(*filled)


def _as_intent(order: Order, instrument: Instrument, lots: int, px: Decimal | None, px_ticks: int) -> Intent:
    """The open rest of an order as a new order would state it."""
    return Intent(
        instrument=instrument,
        side=order.side,
        ord_type=order.ord_type,
        td_mode=order.td_mode,
        tgt_ccy=order.tgt_ccy,
        reduce_only=order.reduce_only,
        sz=order.sz,
        px=px,
        px_ticks=px_ticks,
        lots=lots,
        budget=None,
        stp_mode=order.stp_mode,
        cl_ord_id=order.cl_ord_id,
        tag=order.tag,
        pos_side=order.pos_side,
    )
