"""Tickers of many markets, however the venue hands them out."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from kontor.domain.market import Market, Ticker
from kontor.errors import NotSupported
from kontor.exchange.connection import Connection
from kontor.exchange.tickers import parse_ticker


class TickerSource:
    """Fetches tickers over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, symbols: Collection[str] | None) -> Mapping[str, Ticker]:
        """Tickers by symbol; of every market when no symbols are named."""
        connection = self._connection
        markets = await connection.load_markets()
        chosen = markets if symbols is None else {symbol: await connection.market(symbol) for symbol in symbols}
        if not chosen:
            return {}
        if connection.client.has.get("fetchTickers"):
            raw = await self._at_once(markets, None if symbols is None else chosen)
        elif symbols is not None:
            raw = await asyncio.gather(*(self._one(symbol) for symbol in chosen))
        else:
            raise NotSupported(f"{connection.settings.exchange_id} has no fetchTickers; name the symbols you want")
        now = connection.clock.now()
        return {ticker["symbol"]: parse_ticker(ticker, now) for ticker in raw if ticker.get("symbol") in chosen}

    async def _at_once(self, markets: Mapping[str, Market], chosen: Mapping[str, Market] | None) -> list[Any]:
        """One request for each kind of market: venues that have several answer for one at a time."""
        kinds = sorted({market.kind for market in (markets if chosen is None else chosen).values()})
        several = len({market.kind for market in markets.values()}) > 1
        found: list[Any] = []
        for kind in kinds:
            symbols = None if chosen is None else [name for name, market in chosen.items() if market.kind is kind]
            params = {"type": kind.value} if several and symbols is None else {}
            found += (await self._many(symbols, params)).values()
        return found

    async def _many(self, symbols: list[str] | None, params: Mapping[str, str]) -> Mapping[str, Any]:
        client = self._connection.client
        return await self._connection.ask("fetch_tickers", lambda: client.fetch_tickers(symbols, dict(params)))

    async def _one(self, symbol: str) -> Any:
        client = self._connection.client
        return await self._connection.ask(f"fetch_ticker {symbol}", lambda: client.fetch_ticker(symbol))
