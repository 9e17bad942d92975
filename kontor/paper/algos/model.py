"""An algo order as OKX shows it: what it waits for, what it then places, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from kontor.paper.model import ZERO

LIVE, EFFECTIVE, CANCELED, FAILED = "live", "effective", "canceled", "order_failed"
CONDITIONAL, OCO, TRIGGER, TRAILING = "conditional", "oco", "trigger", "move_order_stop"
MARKET = Decimal(-1)  # an order price of -1 is OKX's word for a market order


class Wait(NamedTuple):
    """A price an order waits for: reached at or above it when `rises`, else at or below it. `kind` is sl, tp, or ''
    for a plain trigger.
    """

    kind: str
    px: Decimal
    rises: bool
    ord_px: Decimal


@dataclass(slots=True)
class AlgoOrder:
    """One algo order. Callers read it at once and never change it; events carry copies of their moment."""

    account: str
    algo_id: str
    algo_cl_ord_id: str  # '' when the client gave none
    cl_ord_id: str  # the same id, where the client sent it under its old name
    inst_id: str
    inst_type: str
    tag: str
    side: str
    pos_side: str
    ord_type: str  # conditional | oco | trigger | move_order_stop
    td_mode: str
    tgt_ccy: str
    reduce_only: bool
    cxl_on_close_pos: bool
    close_fraction: str  # '1' closes whatever is held then
    sz: Decimal | None  # None with close_fraction
    last: Decimal  # when it was placed
    lever: Decimal | None
    c_time: int
    u_time: int
    tp_trigger_px: Decimal | None = None
    tp_trigger_px_type: str = ""
    tp_ord_px: Decimal | None = None
    sl_trigger_px: Decimal | None = None
    sl_trigger_px_type: str = ""
    sl_ord_px: Decimal | None = None
    trigger_px: Decimal | None = None
    trigger_px_type: str = ""
    ord_px: Decimal | None = None
    rises: bool = False  # whether a plain trigger lies above the price
    advance_ord_type: str = ""
    attached: str = ""  # exits for what a plain trigger places, as JSON
    callback_ratio: Decimal | None = None
    callback_spread: Decimal | None = None
    active_px: Decimal | None = None
    state: str = LIVE
    actual_side: str = ""  # sl | tp
    actual_sz: Decimal = ZERO
    actual_px: Decimal | None = None
    ord_id: str = ""
    trigger_time: int | None = None
    fail_code: str = ""
    # How far a trailing stop has watched the market: the last tick, and the best price since it is active, in ticks.
    active: bool = True
    best_ticks: int = 0
    seen_step: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it can still be triggered."""
        return self.state == LIVE

    @property
    def waits(self) -> Iterator[Wait]:
        """The fixed prices it waits for. Of a one-way order with both, OKX looks at the stop loss only."""
        buys = self.side == "buy"
        if self.sl_trigger_px is not None and self.sl_ord_px is not None:
            yield Wait("sl", self.sl_trigger_px, buys, self.sl_ord_px)
            if self.ord_type != OCO:
                return
        if self.tp_trigger_px is not None and self.tp_ord_px is not None:
            yield Wait("tp", self.tp_trigger_px, not buys, self.tp_ord_px)
        if self.trigger_px is not None and self.ord_px is not None:
            yield Wait("", self.trigger_px, self.rises, self.ord_px)


@dataclass(frozen=True, slots=True)
class AlgoAck:
    """OKX's answer to one algo order, cancel or amend: `s_code` '0' means accepted."""

    algo_id: str
    algo_cl_ord_id: str
    cl_ord_id: str = ""
    tag: str = ""
    req_id: str = ""
    s_code: str = "0"
    s_msg: str = ""
