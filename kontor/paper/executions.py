"""A fill about to be booked: what it comes to, in OKX's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kontor.paper.accounts import lot_tick_value
from kontor.paper.model import Instrument, Order

# OKX's numbers for what a trade was: by side, then by side and position side.
BOUGHT, SOLD = "1", "2"
_IN_HEDGE_MODE = {("buy", "long"): "3", ("sell", "short"): "4", ("sell", "long"): "5", ("buy", "short"): "6"}
_LIQUIDATED = {("sell", "long"): "104", ("buy", "short"): "105", ("buy", "net"): "106", ("sell", "net"): "107"}
_DELIVERED = {"sell": "112", "buy": "113"}
LIQUIDATION, DELIVERY = "full_liquidation", "delivery"
_KINDS = {LIQUIDATION: "liquidation", DELIVERY: "delivery"}


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill about to be booked; `role` is T for the taker, M for the maker."""

    order: Order
    instrument: Instrument
    px_ticks: int
    lots: int
    role: str
    trade_id: str
    at: int

    @property
    def px(self) -> Decimal:
        """The price."""
        return self.px_ticks * self.instrument.tick_sz

    @property
    def quantity(self) -> Decimal:
        """Contracts, or base currency on spot."""
        return self.lots * self.instrument.lot_sz

    @property
    def value(self) -> Decimal:
        """What it comes to in the quote currency."""
        return self.lots * self.px_ticks * lot_tick_value(self.instrument)

    @property
    def sub_type(self) -> str:
        """OKX's number for what this trade was."""
        order = self.order
        if order.category == LIQUIDATION:
            return _LIQUIDATED.get((order.side, order.pos_side), "107")
        if order.category == DELIVERY:
            return _DELIVERED[order.side]
        return _IN_HEDGE_MODE.get((order.side, order.pos_side)) or (BOUGHT if order.side == "buy" else SOLD)

    @property
    def kind(self) -> str:
        """The kind of its bills."""
        return _KINDS.get(self.order.category, "trade")
