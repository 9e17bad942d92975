"""Funding: what perpetual positions pay each other every eight hours, by a rate that an operator may set."""

from __future__ import annotations

import json
from bisect import bisect_right
from decimal import Decimal

from kontor.paper.accounts import Account, lot_tick_value
from kontor.paper.model import ZERO, Instrument
from kontor.paper.positions import PositionState
from kontor.paper.state import State

INTERVAL_MS = 8 * 3_600_000
_PLACES = Decimal("1e-12")
_EXPENSE, _INCOME = "173", "174"


def next_funding(at: int) -> int:
    """The first moment after `at` at which funding is paid."""
    return (at // INTERVAL_MS + 1) * INTERVAL_MS


class Funding:
    """The rates, and paying by them. A positive rate is paid by long positions to short ones."""

    def __init__(self, state: State, rate: Decimal) -> None:
        self._state = state
        self._rate = rate
        self._changes: dict[str, list[tuple[int, Decimal]]] = {}  # by instrument: from when on, oldest first

    def rate(self, inst_id: str, at: int) -> Decimal:
        """What a position in this instrument pays at a moment."""
        changes = self._changes.get(inst_id, [])
        place = bisect_right(changes, at, key=lambda change: change[0])
        return changes[place - 1][1] if place else self._rate

    def set_rate(self, inst_id: str, rate: Decimal, at: int) -> None:
        """Another rate from now on."""
        if not abs(rate) < 1:
            raise ValueError(f"{inst_id}: a funding rate of {rate} cannot be set; it is a fraction, such as 0.0001")
        self._state.market.instrument(inst_id)
        self._changes.setdefault(inst_id, []).append((at, rate))
        self._state.changes.settings = True

    def stored(self) -> str:
        """The changed rates, for a restart."""
        return json.dumps({name: [(at, str(rate)) for at, rate in found] for name, found in self._changes.items()})

    def restore(self, stored: str) -> None:
        """Go on with stored rates."""
        for inst_id, found in json.loads(stored).items():
            self._changes[inst_id] = [(int(at), Decimal(rate)) for at, rate in found]

    def pay(self, at: int, inst_id: str | None = None) -> None:
        """Book what every open position, or every one of an instrument, pays or gets now."""
        for account in self._state.accounts:
            for position in account.positions.values():
                if position.lots and inst_id in {None, position.inst_id}:
                    instrument, last = self._state.prices(position.inst_id)
                    self._pay(account, position, instrument, last, at)

    def _pay(self, account: Account, position: PositionState, instrument: Instrument, last: int, at: int) -> None:
        value = position.lots * last * lot_tick_value(instrument)
        payment = -(value * self.rate(position.inst_id, at)).quantize(_PLACES)
        if not payment:
            return
        position.funding_fee += payment
        position.u_time = at
        own = position.isolated  # an isolated position pays out of its own margin
        if own:
            position.margin += payment
        self._state.settlement.post(
            account,
            at,
            instrument.settle_ccy or instrument.quote_ccy,
            ZERO if own else payment,
            "funding",
            inst_id=position.inst_id,
            sub_type=_EXPENSE if payment < 0 else _INCOME,
            pnl=payment,
            px=last * instrument.tick_sz,
            sz=abs(position.lots) * instrument.lot_sz,
            mgn_mode=position.mgn_mode,
            pos_change=payment if own else ZERO,
            pos_balance=position.margin,
        )
        self._state.settlement.note_position(account, position)
