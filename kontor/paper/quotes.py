"""What everybody may see of a market: instruments, tickers, books, candles and trades, named after OKX's fields."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable instrument. `price_key` names the path its price follows: the spot market and the swap of one base
    share it.
    """

    inst_id: str  # BTC-USD, BTC-USD-SWAP
    inst_type: str  # SPOT | SWAP
    base_ccy: str
    quote_ccy: str
    settle_ccy: str | None
    uly: str | None
    inst_family: str | None
    ct_val: Decimal  # base currency in one contract; 1 on spot
    ct_val_ccy: str | None
    ct_type: str | None  # linear
    lot_sz: Decimal
    min_sz: Decimal
    tick_sz: Decimal
    max_lmt_sz: Decimal
    max_mkt_sz: Decimal
    max_lever: int  # 1 on spot
    list_time: int
    price_key: str
    base_price: float
    daily_volatility: float
    depth_usd: float  # typical notional of one price level of the simulated book
    maker_fee: Decimal  # OKX's sign: negative is charged
    taker_fee: Decimal
    index: int  # position in the list of instruments
    state: str = "live"  # live | suspend | expired
    exp_time: int | None = None  # when it is taken off

    @property
    def is_swap(self) -> bool:
        """A linear swap, in contracts, rather than a spot market."""
        return self.inst_type == "SWAP"


@dataclass(frozen=True, slots=True)
class Ticker:
    """OKX's market/ticker row. `vol_24h` in contracts or base, `vol_ccy_24h` base (swap) or quote (spot), and the
    notional in USD.
    """

    inst_type: str
    inst_id: str
    last: Decimal
    last_sz: Decimal
    ask_px: Decimal | None
    ask_sz: Decimal
    bid_px: Decimal | None
    bid_sz: Decimal
    open_24h: Decimal
    high_24h: Decimal
    low_24h: Decimal
    vol_24h: Decimal
    vol_ccy_24h: Decimal
    volume_usd_24h: Decimal
    sod_utc0: Decimal
    sod_utc8: Decimal
    ts: int


@dataclass(frozen=True, slots=True)
class Level:
    """One price level of the book."""

    px: Decimal
    sz: Decimal
    orders: int


@dataclass(frozen=True, slots=True)
class Book:
    """Asks ascending, bids descending."""

    inst_id: str
    asks: tuple[Level, ...]
    bids: tuple[Level, ...]
    ts: int


class Candle(NamedTuple):
    """One candle; `vol` in contracts or base, `vol_ccy` in base, `vol_ccy_quote` in USD; `confirm` is False while it
    is unfinished.
    """

    ts: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    vol: Decimal
    vol_ccy: Decimal
    vol_ccy_quote: Decimal
    confirm: bool


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One trade of the simulated crowd."""

    inst_id: str
    trade_id: str
    px: Decimal
    sz: Decimal
    side: str
    ts: int
