"""ccxt balances and positions as Balance and Position."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from kontor.domain.account import Balance, CurrencyBalance, Position, PositionSide
from kontor.domain.market import Market
from kontor.exchange.numbers import ZERO, decimal, plain, positive

NOTHING = CurrencyBalance(ZERO, ZERO, ZERO)


def parse_balance(raw: Mapping[str, Any], currency: str, now: datetime) -> Balance:
    """The account in `currency`, as of now; a currency the venue does not list is one it holds nothing of."""
    currencies = {
        code: _currency_balance(entry)
        for code, entry in raw.items()
        if isinstance(entry, Mapping) and code not in {"info", "free", "used", "total", "debt"}
    }
    capital = currencies.get(currency, NOTHING)
    return Balance(
        currency=currency,
        total=capital.total,
        free=capital.free,
        used=capital.used,
        at=now,
        currencies={code: held for code, held in currencies.items() if held != NOTHING},
    )


def is_flat(raw: Mapping[str, Any]) -> bool:
    """Whether a ccxt position holds nothing: venues go on listing positions that were closed."""
    return not decimal(raw.get("contracts"))


def parse_position(raw: Mapping[str, Any], market: Market, now: datetime) -> Position:
    """One position that is not flat, as of now: the venue's own time is that of its last change."""
    contracts = decimal(raw.get("contracts")) or ZERO
    quantity = plain(abs(contracts) * market.contract_size)
    side = PositionSide(raw["side"]) if raw.get("side") else _side_of(contracts)
    mark_price = positive(raw.get("markPrice"))
    # Computed where it can be: venues mean different things by it (a real OKX answer was wrong by a factor of 1000).
    notional = decimal(raw.get("notional")) if mark_price is None else plain(quantity * mark_price)
    return Position(
        symbol=market.symbol,
        side=side,
        quantity=quantity,
        entry_price=positive(raw.get("entryPrice")) or ZERO,
        mark_price=mark_price,
        unrealized_pnl=decimal(raw.get("unrealizedPnl")),
        notional=None if notional is None else abs(notional),
        leverage=positive(raw.get("leverage")),
        margin_mode=raw.get("marginMode"),
        at=now,
    )


def _currency_balance(entry: Mapping[str, Any]) -> CurrencyBalance:
    free, used, total = (decimal(entry.get(name)) for name in ("free", "used", "total"))
    if total is None:
        total = (free or ZERO) + (used or ZERO)
    if free is None:
        free = total - (used or ZERO)
    # "Really free" is the venue's figure; used is what remains, so that the three always agree.
    return CurrencyBalance(free=free, used=total - free, total=total)


def _side_of(contracts: Decimal) -> PositionSide:
    return PositionSide.LONG if contracts > 0 else PositionSide.SHORT
