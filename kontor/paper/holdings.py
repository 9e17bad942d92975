"""What an account holds, at what leverage: frozen values named after OKX's fields, as in `model`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kontor.paper.model import ZERO


@dataclass(frozen=True, slots=True)
class LeverageInfo:
    """The leverage of one instrument."""

    inst_id: str
    mgn_mode: str
    pos_side: str
    lever: Decimal


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """One currency of an account. `frozen_bal` is margin plus orders, `ord_frozen` the orders' part."""

    ccy: str
    eq: Decimal
    cash_bal: Decimal
    avail_bal: Decimal
    avail_eq: Decimal
    frozen_bal: Decimal
    ord_frozen: Decimal
    upl: Decimal
    imr: Decimal
    mmr: Decimal
    mgn_ratio: Decimal | None
    notional_lever: Decimal
    eq_usd: Decimal
    u_time: int
    iso_eq: Decimal = ZERO
    iso_upl: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """The whole account; totals in USD."""

    u_time: int
    total_eq: Decimal
    iso_eq: Decimal
    adj_eq: Decimal
    ord_froz: Decimal
    imr: Decimal
    mmr: Decimal
    notional_usd: Decimal
    upl: Decimal
    mgn_ratio: Decimal | None
    details: tuple[CurrencyBalance, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A net position in contracts, signed. A closed one is shown once, with `pos` 0, in events only."""

    inst_id: str
    inst_type: str
    mgn_mode: str
    pos_side: str
    pos_id: str
    pos: Decimal
    avail_pos: Decimal
    avg_px: Decimal | None
    mark_px: Decimal
    last: Decimal
    lever: Decimal
    upl: Decimal
    upl_ratio: Decimal
    realized_pnl: Decimal
    pnl: Decimal
    fee: Decimal
    funding_fee: Decimal
    liq_penalty: Decimal
    notional_usd: Decimal
    imr: Decimal
    mmr: Decimal
    mgn_ratio: Decimal | None
    liq_px: Decimal | None
    be_px: Decimal | None
    ccy: str
    trade_id: str
    c_time: int
    u_time: int
    margin: Decimal | None = None  # of an isolated one
    closing_algos: tuple[Any, ...] = ()  # the AlgoOrders that would close all of it
