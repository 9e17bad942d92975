"""The methods of ccxt that subscribe a channel."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

# ccxt's name of a capability and of the method that has it.
Method = tuple[str, str]
# By channel: the method for many symbols (or for the whole account), and the one for a single symbol.
METHODS: Mapping[str, tuple[Method, ...]] = {
    "tickers": (("watchTickers", "watch_tickers"), ("watchTicker", "watch_ticker")),
    "candles": (("watchOHLCVForSymbols", "watch_ohlcv_for_symbols"), ("watchOHLCV", "watch_ohlcv")),
    "trades": (("watchTradesForSymbols", "watch_trades_for_symbols"), ("watchTrades", "watch_trades")),
    "orders": (("watchOrders", "watch_orders"),),
    "fills": (("watchMyTrades", "watch_my_trades"),),
    "positions": (("watchPositions", "watch_positions"),),
    "balance": (("watchBalance", "watch_balance"),),
}
UNWATCH: Mapping[str, Method] = {
    "tickers": ("unWatchTickers", "un_watch_tickers"),
    "candles": ("unWatchOHLCVForSymbols", "un_watch_ohlcv_for_symbols"),
    "trades": ("unWatchTradesForSymbols", "un_watch_trades_for_symbols"),
}


def streamed(client: Any) -> frozenset[str]:
    """The channels that a client's venue streams."""
    return frozenset(name for name, methods in METHODS.items() if any(client.has.get(can) for can, _ in methods))


async def watch_symbols(client: Any, name: str, symbols: Sequence[str], timeframe: str = "") -> Any:
    """Ccxt's watch on many symbols at once, or one for each where the venue has no such thing."""
    (can, many), (_, one) = METHODS[name]
    if client.has.get(can):
        wanted = [[symbol, timeframe] for symbol in symbols] if timeframe else list(symbols)
        return await getattr(client, many)(wanted)
    request = getattr(client, one)
    watches = [asyncio.ensure_future(request(symbol, *([timeframe] if timeframe else []))) for symbol in symbols]
    try:
        done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for each in watches:
            each.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
