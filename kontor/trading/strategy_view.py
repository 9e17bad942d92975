"""What one strategy sees of its account at one moment: its symbols, as far as they can be traded on, and its share."""

from dataclasses import replace
from datetime import timedelta

from kontor.domain.market import Candles
from kontor.execution.parts import Parts
from kontor.strategies.view import MarketView, SymbolView
from kontor.trading.books import Books
from kontor.trading.data import CandleData, newest_at
from kontor.trading.loading import Ready

STATE = "strategy_state:"


async def view_of(parts: Parts, each: Ready, books: Books, data: CandleData) -> MarketView:
    """What one strategy sees."""
    known = await parts.store.desk.attribute(parts.account, STATE + each.name)
    ranges = await parts.store.market.ranges(parts.account) if each.need.ranges else {}
    max_age = timedelta(seconds=parts.config.risk.max_ticker_age_seconds)
    symbols: dict[str, SymbolView] = {}
    left_out: dict[str, str] = {}
    for symbol in each.settings.symbols:
        market = books.view.markets.get(symbol)
        problem = _problem(each, symbol, books, data)
        ticker = books.fresh_ticker(symbol, max_age)
        found = ranges.get(symbol)
        if problem is None and isinstance(ticker, str):
            problem = ticker
        if problem is None and each.need.ranges and (found is None or not found.is_complete):
            problem = "it has no complete range"
        if problem is not None or market is None or isinstance(ticker, str) or ticker.last is None:
            left_out[symbol] = problem or "it is not a market of this venue"
            continue
        candles: dict[str, Candles] = {timeframe: data.candles[timeframe, symbol] for timeframe, _ in each.need.all()}
        symbols[symbol] = SymbolView(
            # What the venue sent in raw form is of no use to a strategy, and heavy.
            market=replace(market, raw={}),
            ticker=replace(ticker, raw={}),
            price=ticker.last,
            candle_at=newest_at(candles[each.need.timeframe]),
            all_candles=candles,
            position=books.position(each.name, symbol),
            orders=books.orders_of(each.name, symbol),
            range=found,
        )
    capital = books.capital * each.settings.capital_share_percent / 100
    return MarketView(
        strategy=each.name,
        now=books.view.now,
        symbols=symbols,
        capital=capital,
        max_value=capital * each.settings.max_leverage,
        balance=books.balance,
        units=books.units,
        priority=each.settings.priority,
        stop_loss_percent=each.settings.exits.stop_loss_percent,
        state=known.value if known and known.value else {},
        left_out=left_out,
    )


def _problem(each: Ready, symbol: str, books: Books, data: CandleData) -> str | None:
    if symbol not in books.view.markets:
        return "it is not a market of this venue"
    if (each.name, symbol) in books.unsettled:
        return "fills of its last order are not booked yet"
    for timeframe, _ in each.need.all():
        if (timeframe, symbol) not in data.candles:
            return data.problems.get((timeframe, symbol), f"no {timeframe} candles")
    return None
