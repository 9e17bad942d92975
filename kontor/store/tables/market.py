"""The tables of the market."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table, Text

from kontor.domain.market import MarketKind
from kontor.store.columns import Json, Moment, Money, Word
from kontor.store.tables.shared import account_column, metadata

markets = Table(
    "markets",
    metadata,
    account_column(),
    Column("symbol", Text, primary_key=True),
    Column("kind", Word(MarketKind), nullable=False),
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("settle", Text),
    Column("active", Boolean, nullable=False),
    Column("contract_size", Money, nullable=False),
    Column("quantity_step", Money, nullable=False),
    Column("price_step", Money, nullable=False),
    Column("min_quantity", Money, nullable=False),
    Column("max_quantity", Money),
    Column("min_cost", Money),
    Column("max_leverage", Money),
    Column("delists_at", Moment),
    Column("raw", Json, nullable=False),
    Column("saved_at", Moment, nullable=False),
)

watchlist = Table(
    "watchlist",
    metadata,
    account_column(),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("symbol", Text, nullable=False),
)

tickers = Table(
    "tickers",
    metadata,
    account_column(),
    Column("symbol", Text, primary_key=True),
    Column("last", Money),
    Column("last_at", Moment, nullable=False),
    Column("bid", Money),
    Column("ask", Money),
    Column("quote_volume", Money),
    Column("saved_at", Moment, nullable=False),
)

# Candles lie in pages (docs/adr/0004-candle-storage.md): `candles` is an array of little-endian float64, six a candle.
candle_pages = Table(
    "candle_pages",
    metadata,
    account_column(),
    Column("timeframe", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("page", BigInteger, primary_key=True, autoincrement=False),
    Column("length", Integer, nullable=False),
    Column("newest_at", Moment, nullable=False),
    Column("candles", LargeBinary, nullable=False),
)

ranges = Table(
    "ranges",
    metadata,
    account_column(),
    Column("symbol", Text, primary_key=True),
    Column("high", Money),
    Column("low", Money),
    Column("high_timeframe", Text),
    Column("low_timeframe", Text),
    Column("at", Moment, nullable=False),
)
