"""What the venue lists: well-known bases first, then any number of made-up ones, a linear USD swap and a spot market
for each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from kontor.paper.model import Instrument

FEWEST, MOST = 8, 2000
LISTED_AT = 1_577_836_800_000  # 2020-01-01, before any history a client can ask for
SWAP_MAKER, SWAP_TAKER = Decimal("-0.0002"), Decimal("-0.0005")
SPOT_MAKER, SPOT_TAKER = Decimal("-0.0008"), Decimal("-0.001")
MAINTENANCE_RATE = Decimal("0.005")
_SPOT_MAX_MARKET_USD = Decimal(1_000_000)
_MAX_LIMIT_USD = 20_000_000
_MAX_MARKET_DEPTHS = 150  # a market order may ask for more than the book shows


class _Base(NamedTuple):
    """A base currency's habits: about what it costs, how it moves, how it is cut up."""

    name: str
    price: float
    volatility: float  # of a day, as a fraction
    depth_usd: float
    tick: str
    contract: str
    swap_lot: str
    spot_lot: str
    lever: int


_KNOWN = (
    _Base("BTC", 62_000, 0.025, 60_000, "0.1", "0.01", "0.01", "0.00000001", 100),
    _Base("ETH", 3_100, 0.032, 45_000, "0.01", "0.1", "0.01", "0.000001", 100),
    _Base("BNB", 580, 0.03, 20_000, "0.1", "0.01", "1", "0.000001", 50),
    _Base("USDT", 1, 0.0003, 80_000, "0.0001", "1", "1", "0.01", 20),
    _Base("SOL", 145, 0.042, 25_000, "0.01", "1", "0.01", "0.000001", 50),
    _Base("XRP", 0.55, 0.035, 20_000, "0.0001", "100", "0.01", "0.000001", 50),
    _Base("DOGE", 0.12, 0.045, 18_000, "0.00001", "1000", "0.01", "0.00001", 50),
    _Base("ADA", 0.42, 0.038, 12_000, "0.0001", "100", "0.1", "0.0001", 50),
    _Base("LTC", 72, 0.034, 12_000, "0.01", "1", "1", "0.000001", 50),
    _Base("LINK", 13.5, 0.04, 10_000, "0.001", "1", "0.1", "0.000001", 50),
    _Base("AVAX", 27, 0.044, 10_000, "0.001", "1", "1", "0.000001", 50),
    _Base("DOT", 6.1, 0.04, 9_000, "0.001", "1", "1", "0.000001", 50),
    _Base("TRX", 0.13, 0.025, 9_000, "0.00001", "1000", "0.1", "0.0001", 50),
    _Base("ATOM", 6.4, 0.04, 7_000, "0.001", "1", "1", "0.000001", 50),
    _Base("UNI", 8.2, 0.045, 7_000, "0.001", "1", "1", "0.000001", 50),
    _Base("XLM", 0.098, 0.036, 7_000, "0.00001", "100", "1", "0.0001", 50),
    _Base("ETC", 21, 0.038, 6_000, "0.001", "10", "0.1", "0.000001", 50),
    _Base("NEAR", 4.6, 0.048, 6_000, "0.001", "10", "0.1", "0.000001", 50),
    _Base("FIL", 4.1, 0.045, 6_000, "0.001", "0.1", "1", "0.000001", 50),
    _Base("APT", 7.4, 0.047, 6_000, "0.001", "1", "1", "0.0001", 50),
    _Base("ARB", 0.68, 0.05, 5_000, "0.0001", "10", "0.1", "0.0001", 50),
    _Base("OP", 1.6, 0.05, 5_000, "0.0001", "1", "1", "0.0001", 50),
    _Base("AAVE", 98, 0.045, 5_000, "0.01", "0.1", "1", "0.000001", 50),
    _Base("BCH", 345, 0.038, 8_000, "0.1", "0.1", "1", "0.000001", 50),
)


def make_instruments(count: int) -> tuple[Instrument, ...]:
    """`count` instruments, the same ones every time; a longer list starts with the shorter one."""
    if not FEWEST <= count <= MOST:
        raise ValueError(f"{count} markets: the paper exchange lists {FEWEST} to {MOST}")
    listed: list[Instrument] = []
    for number in range((count + 1) // 2):
        base = _KNOWN[number] if number < len(_KNOWN) else _made_up(number - len(_KNOWN))
        listed.append(_swap(base, len(listed)))
        listed.append(_spot(base, len(listed)))
    return tuple(listed[:count])


def instruments_like(prices: Mapping[str, float]) -> tuple[Instrument, ...]:
    """Instruments with these ids (`BTC-USD`, `BTC-USD-SWAP`), cut up to suit these prices; each follows a price path
    of its own.
    """
    return tuple(_like(inst_id, price, index) for index, (inst_id, price) in enumerate(sorted(prices.items())))


def _like(inst_id: str, price: float, index: int) -> Instrument:
    name, quote, *kind = inst_id.split("-")
    if quote != "USD" or not name.isalnum() or kind not in ([], ["SWAP"]):
        raise ValueError(
            f"{inst_id}: the paper exchange lists spot markets named like BTC-USD and swaps named like BTC-USD-SWAP"
        )
    known = next((base for base in _KNOWN if base.name == name and base.price / 20 < price < base.price * 20), None)
    base = known or _habits(name, price, 0.04, 5_000)
    instrument = (_swap if kind else _spot)(base._replace(price=price), index)
    return replace(instrument, price_key=inst_id)


def _swap(base: _Base, index: int) -> Instrument:
    contract, lot = Decimal(base.contract), Decimal(base.swap_lot)
    return Instrument(
        inst_id=f"{base.name}-USD-SWAP",
        inst_type="SWAP",
        base_ccy=base.name,
        quote_ccy="USD",
        settle_ccy="USD",
        uly=f"{base.name}-USD",
        inst_family=f"{base.name}-USD",
        ct_val=contract,
        ct_val_ccy=base.name,
        ct_type="linear",
        lot_sz=lot,
        min_sz=lot,
        tick_sz=Decimal(base.tick),
        max_lmt_sz=round_quantity(_MAX_LIMIT_USD / (base.price * float(contract))),
        max_mkt_sz=round_quantity(_MAX_MARKET_DEPTHS * base.depth_usd / (base.price * float(contract))),
        max_lever=base.lever,
        list_time=LISTED_AT,
        price_key=base.name,
        base_price=base.price,
        daily_volatility=base.volatility,
        depth_usd=base.depth_usd,
        maker_fee=SWAP_MAKER,
        taker_fee=SWAP_TAKER,
        index=index,
    )


def _spot(base: _Base, index: int) -> Instrument:
    lot = Decimal(base.spot_lot)
    return Instrument(
        inst_id=f"{base.name}-USD",
        inst_type="SPOT",
        base_ccy=base.name,
        quote_ccy="USD",
        settle_ccy=None,
        uly=None,
        inst_family=None,
        ct_val=Decimal(1),
        ct_val_ccy=None,
        ct_type=None,
        lot_sz=lot,
        min_sz=max(lot, Decimal(10) ** math.ceil(math.log10(0.5 / base.price))),
        tick_sz=Decimal(base.tick),
        max_lmt_sz=round_quantity(_MAX_LIMIT_USD / base.price),
        max_mkt_sz=_SPOT_MAX_MARKET_USD,
        max_lever=1,
        list_time=LISTED_AT,
        price_key=base.name,
        base_price=base.price,
        daily_volatility=base.volatility,
        depth_usd=base.depth_usd * 0.6,
        maker_fee=SPOT_MAKER,
        taker_fee=SPOT_TAKER,
        index=index,
    )


def round_quantity(quantity: float) -> Decimal:
    """Two leading digits, at least 1: limits on a real venue are round too."""
    if quantity < 10:  # noqa: PLR2004 below two digits there is nothing to round off
        return Decimal(max(1, round(quantity)))
    scale = 10 ** (math.floor(math.log10(quantity)) - 1)
    return Decimal(round(quantity / scale) * scale)


def _made_up(number: int) -> _Base:
    """The number-th made-up base: a pronounceable name, habits scattered by its number."""
    price = 10.0 ** ((number * 0.618034) % 1.0 * 4.5 - 2.0)
    volatility = 0.03 + (number * 0.414214) % 1.0 * 0.04
    return _habits(_name(number), float(f"{price:.3g}"), volatility, 2_000 + (number * 0.732051) % 1.0 * 4_000)


def _habits(name: str, price: float, volatility: float, depth_usd: float) -> _Base:
    """Four to five digits of price, and contracts worth a few dollars."""
    magnitude = math.floor(math.log10(price))
    contract = Decimal(10) ** round(1 - math.log10(price))
    spot_lot = Decimal(10) ** -min(6, max(0, magnitude + 4))
    return _Base(
        name,
        price,
        volatility,
        depth_usd,
        str(Decimal(10) ** (magnitude - 4)),
        format(contract, "f"),
        "1",
        str(spot_lot),
        20,
    )


def _name(number: int) -> str:
    """Four letters, consonant and vowel by turns, a different name for each number and none of the known ones."""
    consonants, vowels = "KVZTMRSLNPDBGFH", "OAIUE"
    syllables = len(consonants) * len(vowels)
    scattered = number * 2_039 % (syllables * syllables)  # 2039 is prime to 75 squared: a permutation
    first, second = divmod(scattered, syllables)
    return "".join(consonants[s // len(vowels)] + vowels[s % len(vowels)] for s in (first, second))
