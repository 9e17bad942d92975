"""Which markets of a real exchange the paper exchange lists, and how they are cut up there.

Its accounts are kept in USD: markets quoted (and settled) in any of the usual dollars are listed as USD markets, the
most traded one of each base.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from kontor.domain.market import Market, MarketKind, Ticker
from kontor.paper.instruments import LISTED_AT, SPOT_MAKER, SPOT_TAKER, SWAP_MAKER, SWAP_TAKER, round_quantity
from kontor.paper.model import Instrument

DOLLARS = ("USD", "USDT", "USDC", "USDE", "FDUSD", "TUSD", "DAI", "PYUSD", "USD1")
_DEPTH_SHARE = 3e-5  # of a day's turnover rests at one price level
_LEAST_DEPTH, _MOST_DEPTH = 500.0, 200_000.0
_MAX_ORDER_USD = 20_000_000
_MAX_MARKET_DEPTHS = 150
_USUAL_LEVER, _MOST_LEVER = 20, 100
_VOLATILITY = 0.04


@dataclass(frozen=True, slots=True)
class Listed:
    """A market of the other exchange, and what it is here."""

    symbol: str
    instrument: Instrument
    contract_size: Decimal


def choose(
    markets: Mapping[str, Market], tickers: Mapping[str, Ticker], count: int, held: Collection[str] = ()
) -> tuple[Listed, ...]:
    """The `count` most traded markets, and before them all whose instrument ids are in `held`."""
    best: dict[str, tuple[float, str]] = {}
    for symbol, market in markets.items():
        inst_id, ticker = instrument_id(market), tickers.get(symbol)
        if inst_id is None or ticker is None or not ticker.last:
            continue
        volume = float(ticker.quote_volume or 0)
        if inst_id not in best or volume > best[inst_id][0]:
            best[inst_id] = (volume, symbol)
    first = [inst_id for inst_id in best if inst_id in held]
    rest = sorted((inst_id for inst_id in best if inst_id not in held), key=lambda name: (-best[name][0], name))
    chosen = [*first, *rest[: max(count - len(first), 0)]]
    found = [(inst_id, best[inst_id][1]) for inst_id in chosen]
    return tuple(
        Listed(symbol, _instrument(inst_id, markets[symbol], tickers[symbol], index), _contract(markets[symbol]))
        for index, (inst_id, symbol) in enumerate(found)
    )


def instrument_id(market: Market) -> str | None:
    """What a market is called here; None for one that is not listed: inactive, inverse, or not in dollars."""
    if not market.active or market.quote not in DOLLARS or market.base in DOLLARS or not market.base.isalnum():
        return None
    if market.kind is MarketKind.SPOT:
        return f"{market.base}-USD"
    return f"{market.base}-USD-SWAP" if market.settle == market.quote else None


def _contract(market: Market) -> Decimal:
    return market.contract_size if market.kind is MarketKind.SWAP else Decimal(1)


def _instrument(inst_id: str, market: Market, ticker: Ticker, index: int) -> Instrument:
    is_swap, price, contract = market.kind is MarketKind.SWAP, float(ticker.last or 0), _contract(market)
    depth = min(max(float(ticker.quote_volume or 0) * _DEPTH_SHARE, _LEAST_DEPTH), _MOST_DEPTH)
    lot = market.quantity_step / contract if market.quantity_step > 0 else _step(1 / price)
    most = round_quantity(_MAX_ORDER_USD / (price * float(contract)))
    at_market = round_quantity(_MAX_MARKET_DEPTHS * depth / (price * float(contract)))
    lever = min(int(market.max_leverage or _USUAL_LEVER), _MOST_LEVER)
    return Instrument(
        inst_id=inst_id,
        inst_type="SWAP" if is_swap else "SPOT",
        base_ccy=market.base,
        quote_ccy="USD",
        settle_ccy="USD" if is_swap else None,
        uly=f"{market.base}-USD" if is_swap else None,
        inst_family=f"{market.base}-USD" if is_swap else None,
        ct_val=contract,
        ct_val_ccy=market.base if is_swap else None,
        ct_type="linear" if is_swap else None,
        lot_sz=lot,
        min_sz=max(market.min_quantity / contract, lot),
        tick_sz=market.price_step if market.price_step > 0 else _step(price),
        max_lmt_sz=most,
        max_mkt_sz=at_market if is_swap else Decimal(1_000_000),
        max_lever=max(lever, 1) if is_swap else 1,
        list_time=LISTED_AT,
        price_key=inst_id,
        base_price=price,
        daily_volatility=_VOLATILITY,
        depth_usd=depth,
        maker_fee=SWAP_MAKER if is_swap else SPOT_MAKER,
        taker_fee=SWAP_TAKER if is_swap else SPOT_TAKER,
        index=index,
    )


def _step(size: float) -> Decimal:
    """A step of five digits for a number of this size, where the exchange names none."""
    return Decimal(10) ** (math.floor(math.log10(size)) - 4)
