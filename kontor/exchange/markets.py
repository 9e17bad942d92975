"""ccxt markets as Market: steps and limits in base currency. Contracts exist on this side of the wall only.

Spot and linear swaps are traded. Inverse and quanto contracts, dated futures and options are left out: their value
does not follow quantity times price, and an account's limits would be computed wrongly for them.
"""

import difflib
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from ccxt.base.decimal_to_precision import DECIMAL_PLACES, TICK_SIZE

from kontor.domain.market import Market, MarketKind
from kontor.errors import NotSupported, Rejected
from kontor.exchange.numbers import ZERO, decimal, moment, plain, positive


def parse_markets(raw: Mapping[str, Any], precision_mode: int) -> dict[str, Market]:
    """Every market that can be traded here, by symbol."""
    found = (parse_market(market, precision_mode) for market in raw.values())
    return {market.symbol: market for market in found if market is not None}


def parse_market(raw: Mapping[str, Any], precision_mode: int) -> Market | None:
    """One market, None when it is of a kind that is left out."""
    kind = _kind(raw)
    contract_size = positive(raw.get("contractSize")) if kind is MarketKind.SWAP else Decimal(1)
    if kind is None or contract_size is None or not raw.get("base") or not raw.get("quote"):
        return None
    limits, precision = raw.get("limits") or {}, raw.get("precision") or {}
    amount, cost, leverage = (limits.get(name) or {} for name in ("amount", "cost", "leverage"))
    step = plain(_step(precision.get("amount"), precision_mode) * contract_size)
    largest = positive(amount.get("max"))
    return Market(
        symbol=raw["symbol"],
        kind=kind,
        base=raw["base"],
        quote=raw["quote"],
        settle=raw.get("settle"),
        active=raw.get("active") is not False,
        contract_size=contract_size,
        quantity_step=step,
        price_step=_step(precision.get("price"), precision_mode),
        min_quantity=max(plain((decimal(amount.get("min")) or ZERO) * contract_size), step),
        max_quantity=None if largest is None else plain(largest * contract_size),
        min_cost=positive(cost.get("min")),
        max_leverage=positive(leverage.get("max")) if kind is MarketKind.SWAP else None,
        delists_at=_delists_at(raw),
        raw=raw,
    )


def to_base(contracts: Any, market: Market) -> Decimal | None:
    """Base currency of a number of contracts (of base units on spot) as the venue gives it."""
    found = decimal(contracts)
    return None if found is None else plain(found * market.contract_size)


def to_contracts(quantity: Decimal, market: Market) -> Decimal:
    """What the venue counts in; exact for a quantity on the market's step."""
    if market.quantity_step <= 0:
        return quantity / market.contract_size
    steps = (quantity / market.quantity_step).quantize(Decimal(1), rounding=ROUND_DOWN)
    return plain(steps * (market.quantity_step / market.contract_size))


def unknown_symbol(symbol: str, exchange_id: str, raw: Mapping[str, Any] | None, known: Iterable[str]) -> Rejected:
    """Why a symbol cannot be used here, with the nearest one that can."""
    if raw is not None:
        what = "an inverse contract" if raw.get("inverse") else f"a market of type {raw.get('type')}"
        return NotSupported(f"{exchange_id} {symbol} is {what}; Kontor trades spot and linear swaps only")
    near = difflib.get_close_matches(symbol, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see update-watchlist for what it has"
    return Rejected(f"{exchange_id} has no market {symbol}; {hint}")


def _kind(raw: Mapping[str, Any]) -> MarketKind | None:
    if raw.get("spot"):
        return MarketKind.SPOT
    if raw.get("swap") and raw.get("linear"):
        return MarketKind.SWAP
    return None


def _delists_at(raw: Mapping[str, Any]) -> datetime | None:
    """Spot and swaps never expire: where OKX names a time all the same, it is that of the delisting."""
    info = raw.get("info")
    return moment(info.get("expTime")) if isinstance(info, Mapping) else None


def _step(precision: Any, mode: int) -> Decimal:
    """The step a precision stands for; 0 where there is no fixed one (significant digits, or none given)."""
    found = decimal(precision)
    if found is None:
        return ZERO
    if mode == TICK_SIZE:
        return max(found, ZERO)
    return Decimal(1).scaleb(-int(found)) if mode == DECIMAL_PLACES else ZERO
