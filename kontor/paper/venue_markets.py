"""What the paper venue tells anybody: its markets."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from kontor.paper.model import Book, Candle, Instrument, PublicTrade, Ticker
from kontor.paper.open_venue import OpenVenue


class VenueMarkets(OpenVenue):
    """The public market data."""

    def instruments(
        self, inst_type: str | None = None, inst_id: str | None = None, uly: str | None = None
    ) -> list[Instrument]:
        """The instruments that match. An unknown `inst_id` raises VenueError 51001."""
        return self._engine.state.market.instruments(inst_type, inst_id, uly)

    def instrument(self, inst_id: str) -> Instrument:
        """One instrument, or VenueError 51001."""
        return self._engine.state.market.instrument(inst_id)

    def ticker(self, inst_id: str) -> Ticker:
        """The ticker of one instrument, or VenueError 51001."""
        return self.tickers(inst_ids=[inst_id])[0]

    def tickers(self, inst_type: str | None = None, inst_ids: Sequence[str] | None = None) -> list[Ticker]:
        """Tickers of a type, of a list, or of everything; computed together, so ask once for many."""
        return self._engine.reports.tickers(inst_type, inst_ids, self._caught_up())

    def book(self, inst_id: str, depth: int = 20) -> Book:
        """The book, resting user orders included, at most 50 levels a side."""
        return self._engine.reports.book(inst_id, depth, self._caught_up())

    def candles(
        self,
        inst_id: str,
        bar: str = "1m",
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        confirmed_only: bool = False,
    ) -> list[Candle]:
        """Candles newest first, OKX's paging: older than `after`, newer than `before`, both exclusive, in milliseconds.

        With `before` and without `after` the candles nearest the present are cut, as OKX does. `bar` is OKX's (1m 3m 5m
        15m 30m 1H 2H 4H 6H 12H 1D 1W, and 6Hutc 12Hutc 1Dutc 1Wutc); unknown ones raise VenueError 51000. The first row
        may be unfinished (`confirm` False) unless `confirmed_only`.
        """
        return self._engine.state.market.candles(
            inst_id, bar, self.clock.now_ms(), after=after, before=before, limit=limit, confirmed_only=confirmed_only
        )

    def trades(self, inst_id: str, limit: int = 100) -> list[PublicTrade]:
        """The crowd's last trades, newest first: one per tick, at the tick's price."""
        return self._engine.state.market.trades(inst_id, self.clock.now_ms(), limit)

    def mark_price(self, inst_id: str) -> Decimal:
        """The mark price, which is the last price here."""
        return self._engine.state.market.last(self.instrument(inst_id), self.clock.now_ms())

    def price_limit(self, inst_id: str) -> tuple[Decimal, Decimal]:
        """The highest buy and the lowest sell price accepted now."""
        return self._engine.state.market.price_limit(self.instrument(inst_id), self.clock.now_ms())
