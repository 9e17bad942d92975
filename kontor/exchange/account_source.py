"""What the account holds, has open and has traded."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import OrderReport
from kontor.errors import NotSupported
from kontor.exchange.accounts import is_flat, parse_balance, parse_position
from kontor.exchange.capabilities import page_size
from kontor.exchange.connection import Connection
from kontor.exchange.fills import collect_pages, parse_fill
from kontor.exchange.order_reports import parse_order
from kontor.exchange.venues import milliseconds
from kontor.resilience.rate_budget import Priority

logger = logging.getLogger(__name__)

MAX_OPEN_ORDER_PAGES = 100


class AccountSource:
    """Fetches balance, positions, open orders and fills over one connection.

    What the venue reports on markets that are left out here (somebody's options, say) is left out as well, and said
    once per symbol.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left_out: set[tuple[str, str]] = set()

    async def balance(self) -> Balance:
        """The account in its capital currency."""
        raw = await self._ask("fetch_balance", self._connection.client.fetch_balance)
        return parse_balance(raw, self._connection.settings.capital_currency, self._connection.clock.now())

    async def positions(self) -> Sequence[Position]:
        """Open positions; none at a venue without swaps."""
        markets = await self._connection.load_markets()
        client, now = self._connection.client, self._connection.clock.now()
        if not client.has.get("fetchPositions"):
            if any(market.kind is MarketKind.SWAP for market in markets.values()):
                raise NotSupported(f"{self._connection.settings.exchange_id} has no fetchPositions; watch the balance")
            return ()
        raw = [entry for entry in await self._ask("fetch_positions", client.fetch_positions) if not is_flat(entry)]
        return [parse_position(entry, market, now) for entry, market in self._known("position", raw, markets)]

    async def open_orders(self, symbol: str | None) -> Sequence[OrderReport]:
        """Orders the venue still works on, of one symbol or all."""
        markets = await self._connection.load_markets()
        if symbol is not None:
            await self._connection.market(symbol)
        now = self._connection.clock.now()
        raw = await self._open_order_pages(symbol)
        return [parse_order(entry, market, now) for entry, market in self._known("order", raw, markets)]

    async def fills(self, symbol: str | None, venue_order_id: str | None, since: datetime | None) -> Sequence[Fill]:
        """Our own trades, oldest first; without `since` and order id the newest page of them."""
        markets = await self._connection.load_markets()
        if symbol is not None:
            await self._connection.market(symbol)
        kinds = {market.kind for market in markets.values()} if self._asks_by_kind(symbol) else {None}
        raw: list[Mapping[str, Any]] = []
        for kind in sorted(kinds, key=str):
            raw += await self._trade_pages(symbol, venue_order_id, since, kind)
        now = self._connection.clock.now()
        found = [parse_fill(entry, market, now) for entry, market in self._known("fill", raw, markets)]
        mine = [fill for fill in found if venue_order_id in {None, fill.venue_order_id}]
        return sorted(mine, key=lambda fill: fill.filled_at)

    async def _open_order_pages(self, symbol: str | None) -> list[Mapping[str, Any]]:
        client, after = self._connection.client, self._connection.venue.open_orders_after
        full = page_size(client, "fetchOpenOrders")
        found: dict[Any, Mapping[str, Any]] = {}
        params: dict[str, Any] = {}
        for _ in range(MAX_OPEN_ORDER_PAGES):
            page = await self._ask("fetch_open_orders", lambda: client.fetch_open_orders(symbol, None, None, params))  # noqa: B023 - awaited before the next page
            fresh = [order for order in page if order.get("id") not in found]
            found |= {order.get("id"): order for order in fresh}
            if not after or not fresh or len(page) < full:
                break
            # The venue lists the newest first and pages towards the oldest by its own ids.
            params = {after: min((order["id"] for order in page), key=_by_number)}
        if not after and len(found) == full:
            logger.warning("open_orders_maybe_incomplete exchange=%s orders=%s", client.id, len(found))
        return list(found.values())

    async def _trade_pages(
        self, symbol: str | None, venue_order_id: str | None, since: datetime | None, kind: MarketKind | None
    ) -> Sequence[Mapping[str, Any]]:
        client = self._connection.client
        by_order = venue_order_id is not None and client.has.get("fetchOrderTrades")
        extra = {} if kind is None else {"type": kind.value}

        async def page(start: int | None, until: int | None) -> Sequence[Mapping[str, Any]]:
            params = {**extra, **({} if until is None else {"until": until})}
            if by_order:
                return await self._ask(
                    "fetch_order_trades", lambda: client.fetch_order_trades(venue_order_id, symbol, start, None, params)
                )
            return await self._ask("fetch_my_trades", lambda: client.fetch_my_trades(symbol, start, None, params))

        start = None if since is None else milliseconds(since)
        if start is None and venue_order_id is None:
            return await page(None, None)
        return await collect_pages(page, start, page_size(client, "fetchMyTrades"))

    def _asks_by_kind(self, symbol: str | None) -> bool:
        return symbol is None and self._connection.venue.fills_by_kind

    def _known(
        self, what: str, entries: Sequence[Mapping[str, Any]], markets: Mapping[str, Market]
    ) -> list[tuple[Mapping[str, Any], Market]]:
        """The entries with their markets, without those whose market is left out here."""
        for symbol in {str(entry.get("symbol")) for entry in entries} - markets.keys():
            if (what, symbol) not in self._left_out:
                self._left_out.add((what, symbol))
                logger.warning("left_out what=%s symbol=%s reason=neither spot nor linear swap", what, symbol)
        return [(entry, markets[entry["symbol"]]) for entry in entries if entry.get("symbol") in markets]

    async def _ask(self, operation: str, request: Any) -> Any:
        await self._connection.load_markets()
        return await self._connection.ask(operation, request, priority=Priority.ACCOUNT)


def _by_number(venue_order_id: str) -> tuple[int, str]:
    return len(venue_order_id), venue_order_id
