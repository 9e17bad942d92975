"""ccxt trades of ours as Fill."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from kontor.domain.fill import Fill, FillCause
from kontor.domain.market import Market
from kontor.domain.order import Side
from kontor.exchange.markets import to_base
from kontor.exchange.numbers import decimal, moment, positive

# How venues mark a trade that they made themselves, by the raw key: OKX numbers it, the others have a word for it.
_LIQUIDATIONS = frozenset({*map(str, range(100, 108)), "bustTrade", "liquidation", "full_liquidation"})
_DELEVERAGINGS = frozenset({*map(str, range(125, 129)), "adlTrade", "adl"})
_CAUSE_KEYS = ("subType", "execType", "category", "fillType")


def parse_fill(raw: Mapping[str, Any], market: Market, now: datetime) -> Fill:
    """One fill; raises KeyError when what names or measures it is missing."""
    quantity, price = to_base(raw.get("amount"), market), positive(raw.get("price"))
    if not raw.get("id") or quantity is None or price is None:
        raise KeyError(f"trade without id, quantity or price: {sorted(raw)}")
    fee = raw.get("fee") or {}
    return Fill(
        trade_id=str(raw["id"]),
        symbol=market.symbol,
        side=Side(raw["side"]),
        quantity=quantity,
        price=price,
        filled_at=moment(raw.get("timestamp")) or now,
        venue_order_id=str(raw.get("order") or ""),
        client_order_id=_client_order_id(raw),
        fee=_fee(raw, decimal(fee.get("cost"))),
        fee_currency=fee.get("currency"),
        cause=_cause(raw),
        is_maker={"maker": True, "taker": False}.get(raw.get("takerOrMaker") or ""),
    )


def _fee(raw: Mapping[str, Any], cost: Decimal | None) -> Decimal | None:
    """Positive when we pay. ccxt turns OKX's sign around by REST, but passes it on as it is from the orders channel."""
    is_of_orders_channel = _info(raw).get("fillFee") is not None
    return -cost if cost and is_of_orders_channel else cost


def _cause(raw: Mapping[str, Any]) -> FillCause | None:
    words = {_lower_first(str(_info(raw).get(key) or "")) for key in _CAUSE_KEYS}
    if words & _LIQUIDATIONS:
        return FillCause.LIQUIDATION
    return FillCause.AUTO_DELEVERAGING if words & _DELEVERAGINGS else None


def _lower_first(word: str) -> str:
    return word[:1].lower() + word[1:]


def _info(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    info = raw.get("info")
    return info if isinstance(info, Mapping) else {}


def _client_order_id(raw: Mapping[str, Any]) -> str | None:
    info = _info(raw)
    found = raw.get("clientOrderId") or next(
        (info[key] for key in ("clOrdId", "algoClOrdId", "clientOrderId", "orderLinkId", "cl_ord_id") if info.get(key)),
        None,
    )
    return str(found) if found else None
