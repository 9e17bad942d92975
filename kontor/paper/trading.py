"""Orders arriving: each is checked, matched and answered at once, in OKX's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from kontor.paper.accounts import Account, Resting, lot_tick_value
from kontor.paper.algos.attached import read_attached
from kontor.paper.intake import Intent, check_price_limit, read_order, text
from kontor.paper.margin import USD, order_margin
from kontor.paper.matching import Demand, Plan, opposite
from kontor.paper.matching import plan as match_plan
from kontor.paper.model import ZERO, Instrument, Order, OrderAck, VenueError
from kontor.paper.positions import PositionState
from kontor.paper.state import State

_RESTS = frozenset({"limit", "post_only"})
_MAX_PENDING = 500  # orders of one account in one instrument
_UNBOUNDED = 10**18
_SAME_DIRECTION = (
    "Failed to place order. A reduce-only order can't be the same trading direction as your existing positions."
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What placed an order, when it was not the client itself: OKX's number for it, and the algo order behind it."""

    source: str = ""
    algo_id: str = ""
    algo_cl_ord_id: str = ""
    category: str = "normal"
    attached: str = ""


CLIENT = Origin()


class Trading:
    """Places orders. Time must have been brought up to `at` before."""

    def __init__(self, state: State) -> None:
        self._state = state

    def place(self, name: str, body: Mapping[str, Any], at: int, origin: Origin = CLIENT) -> OrderAck:
        """Place an order."""
        try:
            account = self._state.account(name)
            intent = read_order(body, self._state.market, account.info.pos_mode)
            self._check_new(account, intent, at)
            attached = origin.attached or self._attached(account, body, intent)
            order = self._place(account, intent, at, replace(origin, attached=attached) if attached else origin)
        except VenueError as refusal:
            return OrderAck("", text(body, "clOrdId"), text(body, "tag"), at, refusal.code, refusal.message)
        return OrderAck(order.ord_id, order.cl_ord_id, order.tag, at, "0", "Order placed")

    def _attached(self, account: Account, body: Mapping[str, Any], intent: Intent) -> str:
        """The exits a body brings along, as JSON; their client ids count with those of algo orders."""
        if not body.get("attachAlgoOrds"):
            return ""
        instrument, last = self._state.prices(intent.instrument.inst_id)
        rows = read_attached(body, instrument, intent.side, intent.px, last * instrument.tick_sz)
        named = [row["attachAlgoClOrdId"] for row in rows if row["attachAlgoClOrdId"]]
        if len(set(named)) < len(named) or any(client in account.algo_client_ids for client in named):
            raise VenueError("51068", "attachAlgoClOrdId already exists within algoClOrdId and attachAlgoClOrdId.")
        return json.dumps(rows) if rows else ""

    def _check_new(self, account: Account, intent: Intent, at: int) -> None:
        if intent.cl_ord_id and intent.cl_ord_id in account.client_ids:
            raise VenueError("51016", "Client order ID already exists.")
        if trouble := self._state.market.source.trouble:
            # Nobody shall trade on a price that is not one any more.
            raise VenueError("50001", f"Service temporarily unavailable: {trouble}.")
        check_price_limit(intent, self._state.market, at)
        inst_id = intent.instrument.inst_id
        if (
            len(account.open_orders) >= _MAX_PENDING
            and sum(o.inst_id == inst_id for o in account.open_orders.values()) >= _MAX_PENDING
        ):
            raise VenueError(
                "51174", f"The number of {inst_id} pending orders reached the upper limit of {_MAX_PENDING} (orders)."
            )
        if intent.reduce_only:
            held = account.position_lots(intent.leg)
            if held == 0:
                raise VenueError(
                    "51169", "Order failed because you don't have any positions in this direction to reduce or close."
                )
            if (held > 0) == (intent.side == "buy"):
                raise VenueError("51170", _SAME_DIRECTION)

    def _place(self, account: Account, intent: Intent, at: int, origin: Origin) -> Order:
        instrument, state = intent.instrument, self._state
        lots = _UNBOUNDED if intent.lots is None else intent.lots
        takes = min(lots, abs(account.position_lots(intent.leg))) if intent.reduce_only else lots
        matched = self.plan(account, intent, takes)
        if intent.lots is None:
            lots = self._budgeted(intent, matched)
        if intent.ord_type == "post_only" and (matched.matches or matched.self_trades):
            matched, refusal = Plan(), ("31", "The post-only order would take liquidity.")
        elif intent.ord_type == "fok" and matched.lots < lots:
            matched, refusal = Plan(), ("13", "FOK order was canceled because it could not be filled completely.")
        else:
            refusal = None
        if not intent.reduce_only:
            self.check_funds(account, intent, lots, matched)
        order = self._new(account, intent, lots, at, origin)
        state.settlement.note(order, at)
        if refusal:
            state.settlement.cancel(order, *refusal, at)
        else:
            self.enter(order, instrument, matched, at)
        return order

    def force(self, account: Account, position: PositionState, px_ticks: int, category: str, at: int) -> Order:
        """Close a position at a price, whoever is on the other side; the order that shows it."""
        instrument, lots = self._state.market.instrument(position.inst_id), abs(position.lots)
        intent = Intent(
            instrument=instrument,
            side="sell" if position.lots > 0 else "buy",
            ord_type="market",
            td_mode=position.mgn_mode,
            tgt_ccy="",
            reduce_only=True,
            sz=lots * instrument.lot_sz,
            px=None,
            px_ticks=None,
            lots=lots,
            budget=None,
            stp_mode="cancel_maker",
            cl_ord_id="",
            tag="",
            pos_side=position.pos_side,
        )
        order = self._new(account, intent, lots, at, Origin(category=category))
        self._state.settlement.note(order, at)
        self._state.settlement.fill(order, instrument, px_ticks, lots, "T", self._state.sequences.next_trade(), at)
        return order

    def plan(self, account: Account, intent: Intent, lots: int) -> Plan:
        """Who would trade with an arriving order."""
        instrument, state = intent.instrument, self._state
        demand = Demand(
            intent.side,
            lots,
            intent.px_ticks,
            account.info.name,
            intent.stp_mode,
            intent.budget,
            lot_tick_value(instrument),
        )
        crowd = state.crowd(instrument, opposite(intent.side))
        return match_plan(state.books[instrument.index], crowd, demand, state.closable)

    def _budgeted(self, intent: Intent, matched: Plan) -> int:
        """The lots that a budget stands for, those included that nobody offered."""
        instrument = intent.instrument
        lot_price = lot_tick_value(instrument)
        spent = sum((m.lots * m.px_ticks * lot_price for m in matched.matches), ZERO)
        price = matched.matches[-1].px_ticks if matched.matches else self._state.prices(instrument.inst_id)[1]
        lots = matched.lots + int(((intent.budget or ZERO) - spent) / (price * lot_price))
        if lots * instrument.lot_sz < instrument.min_sz:
            raise VenueError("51020", "Your order should meet or exceed the minimum order amount.")
        return lots

    def check_funds(self, account: Account, intent: Intent, lots: int, matched: Plan) -> None:
        """VenueError 51008 when the account cannot afford `lots` of which `matched` would trade at once."""
        instrument = intent.instrument
        if instrument.is_swap:
            self._check_margin(account, intent, lots, matched)
        elif intent.side == "sell":
            quantity = (lots if intent.px_ticks else matched.lots) * instrument.lot_sz
            if quantity > self._state.free(account, instrument.base_ccy):
                raise VenueError("51008", f"Order failed. Insufficient {instrument.base_ccy} balance in account.")
        else:
            cost = intent.budget if intent.budget is not None else self._value(intent, lots, matched)
            if cost > self._state.free(account, instrument.quote_ccy):
                raise VenueError("51008", f"Order failed. Insufficient {instrument.quote_ccy} balance in account.")

    def _value(self, intent: Intent, lots: int, matched: Plan) -> Decimal:
        """What the order may come to: all of it at its limit, or what it would really pay at market."""
        lot_price = lot_tick_value(intent.instrument)
        taken = sum((m.lots * m.px_ticks for m in matched.matches), 0)
        if intent.px_ticks is None:
            return taken * lot_price
        if intent.side == "buy":
            return lots * intent.px_ticks * lot_price
        return (taken + (lots - matched.lots) * intent.px_ticks) * lot_price

    def _check_margin(self, account: Account, intent: Intent, lots: int, matched: Plan) -> None:
        instrument = intent.instrument
        lots = lots if intent.px_ticks else matched.lots
        value = self._value(intent, lots, matched)
        held, now = account.position_lots(intent.leg), account.resting.get(intent.leg) or Resting()
        after = Resting(now.buy_lots, now.buy_value, now.sell_lots, now.sell_value)
        if intent.side == "buy":
            after.buy_lots, after.buy_value = now.buy_lots + lots, now.buy_value + value
        else:
            after.sell_lots, after.sell_value = now.sell_lots + lots, now.sell_value + value
        leverage = account.leverage(instrument, intent.td_mode, intent.pos_side)
        more = order_margin(after, held, leverage) - order_margin(now, held, leverage)
        if more > 0 and more - value * instrument.taker_fee > self._state.margin(account).available_equity:
            raise VenueError("51008", f"Order failed. Insufficient {USD} margin in account.")

    def _new(self, account: Account, intent: Intent, lots: int, at: int, origin: Origin) -> Order:
        state, instrument = self._state, intent.instrument
        order = Order(
            account=account.info.name,
            inst_id=instrument.inst_id,
            inst_type=instrument.inst_type,
            ord_id=state.sequences.next_order(),
            cl_ord_id=intent.cl_ord_id,
            tag=intent.tag,
            side=intent.side,
            ord_type=intent.ord_type,
            td_mode=intent.td_mode,
            tgt_ccy=intent.tgt_ccy,
            reduce_only=intent.reduce_only,
            px=intent.px,
            sz=intent.sz,
            lever=account.leverage(instrument, intent.td_mode, intent.pos_side) if instrument.is_swap else None,
            stp_mode=intent.stp_mode,
            c_time=at,
            u_time=at,
            seq=state.sequences.next_rank(),
            px_ticks=intent.px_ticks or 0,
            lots=lots,
            pos_side=intent.pos_side,
            category=origin.category,
            source=origin.source,
            algo_id=origin.algo_id,
            algo_cl_ord_id=origin.algo_cl_ord_id,
            attached=self._numbered(account, origin.attached),
        )
        account.remember(order)
        account.open_orders[order.ord_id] = order
        return order

    def _numbered(self, account: Account, attached: str) -> str:
        """Attached exits with ids of their own, by which an amendment may name them."""
        if not attached:
            return ""
        rows = [{"attachAlgoId": self._state.sequences.next_algo(), **row} for row in json.loads(attached)]
        account.algo_client_ids.update({row["attachAlgoClOrdId"]: "" for row in rows if row["attachAlgoClOrdId"]})
        return json.dumps(rows)

    def enter(self, order: Order, instrument: Instrument, matched: Plan, at: int) -> None:
        """Book an arriving order's matches and rest or cancel what is left."""
        state, touched, crowd_lots = self._state, {order.account: None}, 0
        for own in matched.self_trades:
            state.cancel(own, "32", "Self trade prevention.", at)
        for px_ticks, lots, maker in matched.matches:
            trade_id = state.sequences.next_trade()
            state.settlement.fill(order, instrument, px_ticks, lots, "T", trade_id, at)
            if maker is None:
                crowd_lots += lots
            else:
                state.fill_resting(maker, px_ticks, lots, trade_id, at)
                touched[maker.account] = None
        state.eat(instrument, opposite(order.side), crowd_lots)
        if order.is_open:
            self._rest_or_cancel(order, matched, at)
        if matched.matches:
            for name in touched:
                state.drop_pointless(name, instrument, at)

    def _rest_or_cancel(self, order: Order, matched: Plan, at: int) -> None:
        state = self._state
        if matched.taker_stopped:
            state.settlement.cancel(order, "32", "Self trade prevention.", at)
        elif order.reduce_only and not state.closable(order):
            state.settlement.cancel(
                order, "17", "Close order was canceled, because the position was already closed.", at
            )
        elif order.ord_type in _RESTS:
            state.rest(order)
        else:
            state.settlement.cancel(order, "14", "The order was not filled completely at once.", at)
