"""Stops that rest at the venue: how they are asked for, and what the venue says of them.

OKX keeps them apart from other orders, under endpoints and ids of their own ("algo orders"); one that has triggered
names the order it became.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from kontor.domain.identity import attached_stop_id
from kontor.domain.market import Market
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side
from kontor.exchange.markets import to_base, to_contracts
from kontor.exchange.numbers import ZERO, moment, positive

# ccxt's parameter for requests about such orders.
ABOUT_STOPS: Mapping[str, Any] = {"trigger": True}
OPEN_STOPS: Mapping[str, Any] = {"trigger": True, "ordType": "conditional"}
_STATES = {
    "live": OrderState.ACCEPTED,
    "pause": OrderState.ACCEPTED,
    "effective": OrderState.ACCEPTED,
    "partially_effective": OrderState.ACCEPTED,
    "canceled": OrderState.CANCELED,
    "order_failed": OrderState.REJECTED,
    "partially_failed": OrderState.REJECTED,
}


def stop_request(order: Order, market: Market) -> dict[str, Any]:
    """The stop as ccxt's create_order takes it: a market order at the trigger, by the last price."""
    return {
        "symbol": order.symbol,
        "type": "market",
        "side": order.side.value,
        "amount": float(to_contracts(order.quantity, market)),
        "price": None,
        "params": {
            # ccxt passes on ours as clOrdId, which is not what such an order is called by there.
            "clientOrderId": order.client_order_id,
            "algoClOrdId": order.client_order_id,
            "stopLossPrice": float(order.trigger_price or ZERO),
            "reduceOnly": True,
        },
    }


def attached_stop_params(entry: Order) -> dict[str, Any]:
    """What an entry says of the stop it brings along, in OKX's words: ccxt's own would leave out our id of it."""
    return {
        "attachAlgoOrds": [
            {
                "attachAlgoClOrdId": attached_stop_id(entry.client_order_id),
                "slTriggerPx": f"{entry.trigger_price:f}",
                "slTriggerPxType": "last",
                "slOrdPx": "-1",
            }
        ]
    }


def is_stop(raw: Mapping[str, Any]) -> bool:
    """Whether a ccxt order is one that rests until its trigger; what it became bears the id too, but has fills."""
    info = raw.get("info")
    return (
        isinstance(info, Mapping)
        and bool(info.get("algoId"))
        and bool(info.get("slTriggerPx"))
        and not info.get("accFillSz")
    )


def order_id(raw: Mapping[str, Any]) -> str:
    """The venue's id of an order that is no stop: ccxt takes the stop's for what a triggered one became."""
    return became(raw) or str(raw["id"])


def stop_client_id(raw: Mapping[str, Any]) -> str | None:
    """Our id of a stop, also on the order that it became."""
    info = raw.get("info")
    return str(info["algoClOrdId"]) if isinstance(info, Mapping) and info.get("algoClOrdId") else None


def became(raw: Mapping[str, Any]) -> str | None:
    """The venue's id of the order that a triggered stop became."""
    info = raw.get("info")
    return str(info["ordId"]) if isinstance(info, Mapping) and info.get("ordId") else None


def parse_stop(raw: Mapping[str, Any], market: Market, now: datetime) -> OrderReport:
    """A stop that has not become an order; raises KeyError without id or side."""
    info = raw["info"]
    quantity: Decimal = to_base(raw.get("amount"), market) or ZERO
    return OrderReport(
        symbol=market.symbol,
        side=Side(raw["side"]),
        order_type=OrderType.STOP,
        state=_STATES.get(str(info.get("state")), OrderState.ACCEPTED),
        quantity=quantity,
        filled_quantity=ZERO,
        venue_order_id=str(info["algoId"]),
        at=moment(info.get("uTime")) or moment(raw.get("timestamp")) or now,
        client_order_id=stop_client_id(raw),
        trigger_price=positive(info.get("slTriggerPx")),
        reduce_only=str(info.get("reduceOnly")).lower() == "true",
        reason=str(info.get("failCode") or "") or None,
        created_at=moment(raw.get("timestamp")),
    )
