"""Algo orders: taken, kept, changed, and turned into orders when their price comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kontor.paper.accounts import Account
from kontor.paper.algos.exits import read_exits
from kontor.paper.algos.intake import read_algo, set_exit
from kontor.paper.algos.model import (
    CANCELED,
    EFFECTIVE,
    FAILED,
    MARKET,
    OCO,
    TRAILING,
    TRIGGER,
    AlgoAck,
    AlgoOrder,
    Wait,
)
from kontor.paper.algos.trailing import observe, watch
from kontor.paper.intake import text
from kontor.paper.model import ZERO, Instrument, Order, VenueError
from kontor.paper.state import State
from kontor.paper.trading import Origin, Trading

_MOST_LIVE = 500  # of one account
_BY_TRIGGER, _BY_EXIT, _BY_TRAILING = "6", "7", "25"  # OKX's numbers for what placed an order
_SOURCES = {TRIGGER: _BY_TRIGGER, TRAILING: _BY_TRAILING}


class AlgoDesk:
    """Everything that happens to algo orders. Time must have been brought up to `at` before."""

    def __init__(self, state: State, trading: Trading) -> None:
        self._state = state
        self._trading = trading
        state.settlement.on_filled = self._attach

    # Placing

    def place(self, name: str, body: Mapping[str, Any], at: int) -> AlgoAck:
        """Take an algo order."""
        state = self._state
        try:
            account = state.account(name)
            instrument, last = state.prices(text(body, "instId"))
            algo = read_algo(body, state.market, last * instrument.tick_sz, account.info.pos_mode)
            algo.account = name
            self._check_new(account, algo)
        except VenueError as refusal:
            given = text(body, "algoClOrdId"), text(body, "clOrdId")
            return AlgoAck("", given[0] or given[1], given[1], text(body, "tag"), "", refusal.code, refusal.message)
        self._keep(account, algo, instrument, at)
        return AlgoAck(algo.algo_id, algo.algo_cl_ord_id, algo.cl_ord_id, algo.tag)

    def _check_new(self, account: Account, algo: AlgoOrder) -> None:
        if algo.algo_cl_ord_id and algo.algo_cl_ord_id in account.algo_client_ids:
            raise VenueError("51068", "algoClOrdId already exists within algoClOrdId and attachAlgoClOrdId.")
        if len(account.live_algos) >= _MOST_LIVE:
            raise VenueError(
                "51299", f"Order did not go through. You can hold a maximum of {_MOST_LIVE} orders of this type."
            )
        if not algo.close_fraction:
            return
        if not self._state.closable(algo):
            raise VenueError("51058", "No available position for this algo order")
        if any(other.close_fraction and _same_position(other, algo) for other in account.live_algos.values()):
            raise VenueError("51056", "Action not allowed")

    def _keep(self, account: Account, algo: AlgoOrder, instrument: Instrument, at: int) -> None:
        """Let a checked algo order wait."""
        algo.algo_id = self._state.sequences.next_algo()
        algo.c_time = at
        algo.lever = account.leverage(instrument, algo.td_mode, algo.pos_side) if instrument.is_swap else None
        algo.seen_step = self._state.step
        account.remember_algo(algo)
        self._state.await_price(algo)
        self._state.note_algo(algo, at)

    def _attach(self, order: Order, at: int) -> None:
        """Place the exits that a filled order brought along."""
        account, instrument = self._state.account(order.account), self._state.market.instrument(order.inst_id)
        for row in json.loads(order.attached):
            exits = list(read_exits(row, instrument))
            algo = AlgoOrder(
                account=order.account,
                algo_id="",
                algo_cl_ord_id=row["attachAlgoClOrdId"],
                cl_ord_id="",
                inst_id=order.inst_id,
                inst_type=order.inst_type,
                tag=order.tag,
                side="sell" if order.side == "buy" else "buy",
                pos_side=order.pos_side,
                ord_type=OCO if len(exits) > 1 else "conditional",
                td_mode=order.td_mode,
                tgt_ccy="",
                reduce_only=True,
                cxl_on_close_pos=False,
                close_fraction="",
                sz=order.acc_fill_sz,
                last=self._state.prices(order.inst_id)[1] * instrument.tick_sz,
                lever=None,
                c_time=at,
                u_time=at,
            )
            for each in exits:
                set_exit(algo, each)
            self._keep(account, algo, instrument, at)

    # Firing

    def fire_due(self, instrument: Instrument, step: int) -> None:
        """Place the orders of every algo order whose price this tick has reached."""
        state = self._state
        at, last = step * state.market.tick_ms, state.market.last_ticks(instrument, step) * instrument.tick_sz
        for algo in list(state.waiting[instrument.index].values()):
            wait = self._reached(algo, instrument, last, step) if algo.is_live else None
            if wait is not None:
                self._fire(algo, instrument, wait, at)

    def jump(self, instrument: Instrument, step: int) -> None:
        """Look at every algo order again after the price has jumped within the tick."""
        for algo in self._state.waiting[instrument.index].values():
            if algo.ord_type == TRAILING:
                # What it has seen so far cannot be found again: the jump has rewritten the tick.
                self._state.changes.algos[algo.algo_id] = algo
            else:
                algo.seen_step = min(algo.seen_step, step - 1)
        self.fire_due(instrument, step)

    def _reached(self, algo: AlgoOrder, instrument: Instrument, last: Decimal, step: int) -> Wait | None:
        """What of an algo order fires at this tick; one placed within the tick waits for the next."""
        if algo.ord_type == TRAILING:
            return Wait("", last, algo.side == "buy", MARKET) if self._trailed(algo, instrument, last, step) else None
        if algo.seen_step >= step:
            return None
        return next((wait for wait in algo.waits if (last >= wait.px if wait.rises else last <= wait.px)), None)

    def _trailed(self, algo: AlgoOrder, instrument: Instrument, last: Decimal, step: int) -> bool:
        if algo.seen_step < step:
            return watch(algo, instrument, self._state.market, step) == step
        # Seen already, unless the price has jumped since within the tick.
        return observe(algo, int(last / instrument.tick_sz), instrument.tick_sz)

    def _fire(self, algo: AlgoOrder, instrument: Instrument, wait: Wait, at: int) -> None:
        """Place the order; a refusal ends the algo order with its code."""
        state = self._state
        algo.actual_side, algo.trigger_time = wait.kind, at
        sz, closable = algo.sz, state.closable(algo) * instrument.lot_sz
        if algo.close_fraction or (algo.reduce_only and closable):
            sz = closable if sz is None else min(sz, closable)
        body: dict[str, Any] = {
            "instId": algo.inst_id,
            "tdMode": algo.td_mode,
            "side": algo.side,
            "posSide": algo.pos_side,
            "sz": f"{sz:f}",
            "ordType": "market",
            "tag": algo.tag,
            "tgtCcy": algo.tgt_ccy,
            "reduceOnly": algo.reduce_only,
        }
        if wait.ord_px != MARKET:
            body |= {"ordType": algo.advance_ord_type or "limit", "px": f"{wait.ord_px:f}"}
            algo.actual_px = wait.ord_px
        origin = Origin(
            _SOURCES.get(algo.ord_type, _BY_EXIT), algo.algo_id, algo.algo_cl_ord_id, attached=algo.attached
        )
        # The algo order is over before its order trades: closing the position must not cancel it.
        state.end_algo(algo, EFFECTIVE, at)
        ack = self._trading.place(algo.account, body, at, origin)
        if ack.s_code == "0":
            algo.ord_id, algo.actual_sz = ack.ord_id, sz or ZERO
        else:
            algo.state, algo.fail_code = FAILED, ack.s_code
        state.note_algo(algo, at)

    def next_trailing(self, instrument: Instrument, last: int) -> int | None:
        """The first tick up to `last` at which a trailing stop of this market fires."""
        found = [
            step
            for algo in self._state.waiting[instrument.index].values()
            if algo.ord_type == TRAILING
            and (step := watch(algo, instrument, self._state.market, last)) is not None
        ]  # fmt: skip
        return min(found, default=None)

    # Canceling and looking up

    def find(self, account: Account, algo_id: str, client: str) -> AlgoOrder | None:
        """An algo order by either id; algoId wins."""
        if not algo_id and not client:
            raise VenueError("50015", "Either parameter algoId or algoClOrdId is required")
        return account.algos.get(algo_id or account.algo_client_ids.get(client, ""))

    def one(self, account: Account, algo_id: str, client: str) -> AlgoOrder:
        """An algo order by either id, live or recent: VenueError 51603 when there is none."""
        algo = self.find(account, algo_id, client)
        if algo is None:
            raise VenueError("51603", "Order does not exist")
        return algo

    @staticmethod
    def pending(account: Account) -> list[AlgoOrder]:
        """Those that wait, newest first."""
        return list(account.live_algos.values())[::-1]

    @staticmethod
    def history(account: Account) -> list[AlgoOrder]:
        """Those that have ended and are kept, newest first."""
        return [algo for algo in reversed(account.algos.values()) if not algo.is_live]

    def cancel(self, name: str, body: Mapping[str, Any], at: int) -> AlgoAck:
        """Cancel an algo order."""
        algo_id, client = text(body, "algoId"), text(body, "algoClOrdId")
        try:
            self._state.market.instrument(text(body, "instId"))
            algo = self._found(name, body, "51400", "Order cancellation failed as the order has been filled, ")
            if algo.state == CANCELED:
                raise VenueError("51401", "Cancellation failed as the order is already canceled.")
            if not algo.is_live:
                raise VenueError("51402", "Cancellation failed as the order is already completed.")
        except VenueError as refusal:
            return AlgoAck(algo_id, client, s_code=refusal.code, s_msg=refusal.message)
        self._state.end_algo(algo, CANCELED, at)
        self._state.note_algo(algo, at)
        return AlgoAck(algo.algo_id, algo.algo_cl_ord_id)

    def _found(self, name: str, body: Mapping[str, Any], code: str, words: str) -> AlgoOrder:
        algo = self.find(self._state.account(name), text(body, "algoId"), text(body, "algoClOrdId"))
        if algo is None or text(body, "instId") not in {"", algo.inst_id}:
            raise VenueError(code, f"{words}canceled or does not exist.")
        return algo


def _same_position(one: AlgoOrder, other: AlgoOrder) -> bool:
    return one.leg == other.leg and one.side == other.side
