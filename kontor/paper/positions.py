"""Positions in linear swaps: what a fill does to one, to the last cent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kontor.paper.model import ZERO, Leg

_CENT_OF_A_CENT = Decimal("1e-12")


@dataclass(slots=True)
class PositionState:
    """A position with its entry value, from which the average price follows; both sides of a round trip add up
    exactly.
    """

    account: str
    inst_id: str
    pos_id: str
    lots: int = 0  # signed
    entry_value: Decimal = ZERO  # of the open lots, at their entry prices
    pnl: Decimal = ZERO  # realized since it was opened, without fees
    fee: Decimal = ZERO
    funding_fee: Decimal = ZERO
    liq_penalty: Decimal = ZERO
    trade_id: str = ""
    c_time: int = 0
    u_time: int = 0
    mgn_mode: str = "cross"
    pos_side: str = "net"
    margin: Decimal = ZERO  # of an isolated one: no longer part of the account's cash

    @property
    def leg(self) -> Leg:
        """What it is known by."""
        return Leg(self.inst_id, self.mgn_mode, self.pos_side)

    @property
    def isolated(self) -> bool:
        """Whether it has a margin of its own."""
        return self.mgn_mode == "isolated"

    def apply(self, lots: int, lot_value: Decimal, at: int) -> Decimal:
        """Book signed lots, each worth `lot_value` now; returns the profit this realizes."""
        if self.lots == 0:
            self.pnl = self.fee = self.funding_fee = self.liq_penalty = ZERO
            self.c_time = at
        self.u_time = at
        closed = min(abs(lots), abs(self.lots)) if (lots > 0) != (self.lots > 0) else 0
        profit = self._close(closed, lot_value) if closed else ZERO
        opened = abs(lots) - closed
        if opened:
            if self.lots == 0 and closed:  # turned around: a new position begins
                self.c_time = at
            self.entry_value += opened * lot_value
            self.lots += opened if lots > 0 else -opened
        self.pnl += profit
        return profit

    def _close(self, closed: int, lot_value: Decimal) -> Decimal:
        held = abs(self.lots)
        entry = self.entry_value if closed == held else (self.entry_value * closed / held).quantize(_CENT_OF_A_CENT)
        exit_value = closed * lot_value
        profit = exit_value - entry if self.lots > 0 else entry - exit_value
        self.entry_value -= entry
        self.lots += -closed if self.lots > 0 else closed
        return profit

    @property
    def realized(self) -> Decimal:
        """What OKX calls realizedPnl: profit, fees, funding and penalties since it was opened."""
        return self.pnl + self.fee + self.funding_fee + self.liq_penalty

    def unrealized(self, lot_value: Decimal) -> Decimal:
        """Profit if every lot were closed at `lot_value`."""
        value = abs(self.lots) * lot_value
        return value - self.entry_value if self.lots >= 0 else self.entry_value - value
