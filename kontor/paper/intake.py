"""Requests as they come over the wire, checked the way OKX checks them, turned into lots and ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from kontor.paper.accounts import NET_MODE
from kontor.paper.market import Market
from kontor.paper.model import Instrument, Leg, VenueError

_SIDES = frozenset({"buy", "sell"})
_PRICED = frozenset({"limit", "post_only", "fok", "ioc"})
_UNPRICED = frozenset({"market", "optimal_limit_ioc"})
_STP_MODES = frozenset({"cancel_maker", "cancel_taker", "cancel_both"})
_MAX_CLIENT_ID, _MAX_TAG = 32, 16
MAX_LOTS = 10**18
_NOT_TRADED = {"suspend": ("51022", "Contract suspended."), "expired": ("51027", "Contract expired.")}
MARGIN_MODES = frozenset({"cross", "isolated"})


@dataclass(frozen=True, slots=True)
class Intent:
    """A well-formed order. `lots` is None when `budget` (quote currency) sets the quantity; `px_ticks` is None at
    market.
    """

    instrument: Instrument
    side: str
    ord_type: str
    td_mode: str
    tgt_ccy: str
    reduce_only: bool
    sz: Decimal
    px: Decimal | None
    px_ticks: int | None
    lots: int | None
    budget: Decimal | None
    stp_mode: str
    cl_ord_id: str
    tag: str
    pos_side: str = "net"

    @property
    def leg(self) -> Leg:
        """The position it would open or close."""
        return Leg(self.instrument.inst_id, self.td_mode, self.pos_side)


def parameter_error(name: str) -> VenueError:
    """OKX's 51000."""
    return VenueError("51000", f"Parameter {name} error")


def text(body: Mapping[str, Any], name: str) -> str:
    """A parameter as text, '' when it is missing."""
    value = body.get(name)
    return "" if value is None else str(value)


def required(body: Mapping[str, Any], name: str) -> str:
    """A parameter that must be there."""
    value = text(body, name)
    if not value:
        raise VenueError("50014", f"Parameter {name} cannot be empty")
    return value


def positive(value: str, name: str) -> Decimal:
    """A decimal above zero."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise parameter_error(name) from None
    if not number.is_finite() or number <= 0:
        raise parameter_error(name)
    return number


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A boolean, as JSON or as text."""
    value = body.get(name)
    if value in (None, "", False, "false"):
        return False
    if value in (True, "true"):
        return True
    raise parameter_error(name)


def client_id(body: Mapping[str, Any], name: str = "clOrdId") -> str:
    """A client id by OKX's rule: letters and digits, at most 32."""
    value = text(body, name)
    if value and (len(value) > _MAX_CLIENT_ID or not (value.isascii() and value.isalnum())):
        raise parameter_error(name)
    return value


def read_order(body: Mapping[str, Any], market: Market, pos_mode: str) -> Intent:
    """The order a body asks for, or VenueError. Prices far from the market and funds are checked later."""
    instrument = market.instrument(required(body, "instId"))
    side, ord_type = required(body, "side"), required(body, "ordType")
    td_mode, pos_side = modes(body, instrument, side, pos_mode)
    tgt_ccy, reduce_only = _check_modes(body, instrument, side, ord_type)
    if pos_side != "net":  # the position side says it, and reduceOnly is ignored
        reduce_only = closes(side, pos_side)
    cl_ord_id, tag = client_id(body), order_tag(body)
    sz = positive(required(body, "sz"), "sz")
    px, px_ticks = _price(body, instrument) if ord_type in _PRICED else (None, None)
    budget = sz if tgt_ccy == "quote_ccy" and ord_type == "market" else None
    lots = None if budget is not None else in_lots(sz, instrument)
    _check_largest(instrument, ord_type, sz, budget)
    return Intent(
        instrument=instrument,
        side=side,
        ord_type=ord_type,
        td_mode=td_mode,
        tgt_ccy=tgt_ccy,
        reduce_only=reduce_only,
        sz=sz,
        px=px,
        px_ticks=px_ticks,
        lots=lots,
        budget=budget,
        stp_mode=text(body, "stpMode") or "cancel_maker",
        cl_ord_id=cl_ord_id,
        tag=tag,
        pos_side=pos_side,
    )


def order_tag(body: Mapping[str, Any]) -> str:
    """The tag by OKX's rule: letters and digits, at most 16."""
    tag = text(body, "tag")
    if len(tag) > _MAX_TAG or not (tag.isalnum() or not tag):
        raise parameter_error("tag")
    return tag


def closes(side: str, pos_side: str) -> bool:
    """Whether an order of long/short mode takes from its position."""
    return (side, pos_side) in {("sell", "long"), ("buy", "short")}


def modes(
    body: Mapping[str, Any], instrument: Instrument, side: str, pos_mode: str, *, algo: bool = False
) -> tuple[str, str]:
    """The trade mode and the position side a body asks for. A stop order on spot may say cross, as ccxt does."""
    if instrument.state != "live":
        raise VenueError(*_NOT_TRADED[instrument.state])
    if side not in _SIDES:
        raise parameter_error("side")
    td_mode, pos_side = required(body, "tdMode"), text(body, "posSide") or "net"
    if td_mode not in (MARGIN_MODES if instrument.is_swap else {"cash", "cross"} if algo else {"cash"}):
        raise parameter_error("tdMode")
    if not instrument.is_swap:
        return "cash", "net"
    if pos_side not in ({"net"} if pos_mode == NET_MODE else {"long", "short"}):
        raise parameter_error("posSide")
    return td_mode, pos_side


def _check_modes(body: Mapping[str, Any], instrument: Instrument, side: str, ord_type: str) -> tuple[str, bool]:
    """The words a body may use; returns what `sz` counts on spot, and whether the order may only reduce."""
    types = _PRICED | _UNPRICED if instrument.is_swap else _PRICED | {"market"}
    allowed = {
        "ordType": (ord_type, types),
        "stpMode": (text(body, "stpMode"), _STP_MODES | {""}),
        "tgtCcy": ("" if instrument.is_swap else text(body, "tgtCcy"), {"", "base_ccy", "quote_ccy"}),
    }
    for name, (value, words) in allowed.items():
        if value not in words:
            raise parameter_error(name)
    reduce_only = flag(body, "reduceOnly")
    if instrument.is_swap:
        return "", reduce_only
    if reduce_only:
        raise VenueError("51205", "Reduce Only is not available.")
    if ord_type != "market":
        return "base_ccy", False
    return text(body, "tgtCcy") or ("quote_ccy" if side == "buy" else "base_ccy"), False


def _price(body: Mapping[str, Any], instrument: Instrument) -> tuple[Decimal, int]:
    px = text(body, "px")
    if not px:
        raise VenueError("51204", "The price for the limit order cannot be empty.")
    return in_ticks(positive(px, "px"), instrument)


def in_ticks(px: Decimal, instrument: Instrument, name: str = "px") -> tuple[Decimal, int]:
    """A price, and the same in ticks; off the grid is 51000."""
    ticks = px / instrument.tick_sz
    if ticks != ticks.to_integral_value() or ticks > MAX_LOTS:
        raise parameter_error(name)
    return px, int(ticks)


def in_lots(sz: Decimal, instrument: Instrument) -> int:
    """A quantity in lots: 51020 below the smallest, 51121 between lots."""
    if sz < instrument.min_sz:
        raise VenueError("51020", "Your order should meet or exceed the minimum order amount.")
    lots = sz / instrument.lot_sz
    if lots != lots.to_integral_value():
        raise VenueError("51121", "Order quantity must be a multiple of the lot size.")
    return int(lots)


def _check_largest(instrument: Instrument, ord_type: str, sz: Decimal, budget: Decimal | None) -> None:
    if ord_type in _PRICED:
        if sz > instrument.max_lmt_sz:
            raise VenueError(
                "51101", f"The maximum quantity per limit order is {instrument.max_lmt_sz:f}. Reduce your order."
            )
    elif (instrument.is_swap or budget is not None) and sz > instrument.max_mkt_sz:
        raise VenueError("51202", "Market order amount exceeds the maximum amount.")


def check_price_limit(intent: Intent, market: Market, now_ms: int) -> None:
    """51006 for a buy above or a sell below what the venue accepts now."""
    if intent.px is None:
        return
    highest, lowest = market.price_limit(intent.instrument, now_ms)
    if (intent.px > highest) if intent.side == "buy" else (intent.px < lowest):
        raise VenueError(
            "51006",
            f"Order price is not within the price limit (max buy price: {highest:f} min sell price: {lowest:f})",
        )
