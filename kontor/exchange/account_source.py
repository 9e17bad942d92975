"""What the account holds, has open and has traded."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import Market, MarketKind
from kontor.domain.order import OrderReport
from kontor.domain.outside import Transfer
from kontor.errors import NotSupported
from kontor.exchange.accounts import is_flat, parse_balance, parse_position
from kontor.exchange.capabilities import page_size
from kontor.exchange.connection import Connection
from kontor.exchange.fills import parse_fill
from kontor.exchange.order_reports import parse_order
from kontor.exchange.paging import Entry, collect_by_id, collect_by_time
from kontor.exchange.stops import OPEN_STOPS
from kontor.exchange.transfers import parse_bills, parse_transfers
from kontor.exchange.venues import milliseconds
from kontor.resilience.rate_budget import Priority

logger = logging.getLogger(__name__)


class AccountSource:
    """Fetches balance, positions, open orders and fills over one connection.

    What the venue reports on markets that are left out here (somebody's options, say) is left out as well, and said
    once per symbol.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left_out: set[tuple[str, str]] = set()

    async def balance(self) -> Balance:
        """The account in its capital currency, as old as the question: what is filled meanwhile may be missing."""
        asked_at = self._connection.clock.now()
        raw = await self._ask("fetch_balance", self._connection.client.fetch_balance)
        return parse_balance(raw, self._connection.settings.capital_currency, asked_at)

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
        raw = [*await self._open_order_pages(symbol, {}), *await self._open_stops(symbol)]
        return [parse_order(entry, market, now) for entry, market in self._known("order", raw, markets)]

    async def fills(self, symbol: str | None, venue_order_id: str | None, since: datetime | None) -> Sequence[Fill]:
        """Our own trades, oldest first; without `since` and order id the newest page of them."""
        markets = await self._connection.load_markets()
        if symbol is not None:
            await self._connection.market(symbol)
        kinds = {market.kind for market in markets.values()} if self._asks_by_kind(symbol) else {None}
        raw: list[Entry] = []
        for kind in sorted(kinds, key=str):
            raw += await self._trade_pages(symbol, venue_order_id, since, kind)
        now = self._connection.clock.now()
        found = [parse_fill(entry, market, now) for entry, market in self._known("fill", raw, markets)]
        mine = [fill for fill in found if venue_order_id in {None, fill.venue_order_id}]
        return sorted(mine, key=lambda fill: fill.filled_at)

    async def transfers(self, since: datetime) -> Sequence[Transfer]:
        """Money that came or left by anything but trading since then, oldest first."""
        found = await self._statement(since, None, self._connection.venue.ledger_params)
        return parse_transfers(found, since)

    async def bills(self, since: datetime, until: datetime | None) -> Sequence[Bill]:
        """Every movement of money from `since` up to `until`, oldest first; Incomplete when there are too many."""
        found = parse_bills(await self._statement(since, until, {}), self._connection.venue.bill_kinds, since)
        return [bill for bill in found if until is None or bill.at <= until]

    async def _statement(self, since: datetime, until: datetime | None, about: Entry) -> Sequence[Entry]:
        """The account statement of a time, entries named twice included."""
        client, venue = self._connection.client, self._connection.venue
        full = page_size(client, "fetchLedger")
        found: list[Entry] = []
        for method in self._ledger_methods(since):

            async def page(params: Entry, method: str = method) -> Sequence[Entry]:
                return await self._ask("fetch_ledger", lambda: self._ledger(method, since, until, {**about, **params}))

            if venue.bills_after:
                found += await collect_by_id(
                    page, venue.bills_after, lambda entry: str(entry["id"]), full, all_or_none=True
                )
            else:
                found += await page({})
        return found

    def _ledger_methods(self, since: datetime) -> Sequence[str]:
        """The requests that together tell everything since then: for long ago the archive too."""
        venue = self._connection.venue
        age = self._connection.clock.now() - since
        # Clocks differ, and pages take their time.
        if venue.ledger_archive and age > venue.ledger_reach - timedelta(hours=1):
            return venue.ledger_archive, venue.ledger_method
        return (venue.ledger_method,)

    async def _ledger(self, method: str, since: datetime, until: datetime | None, params: Entry) -> Sequence[Entry]:
        """A page of the account statement."""
        client = self._connection.client
        if not method:
            found = await client.fetch_ledger(None, milliseconds(since), None, dict(params))
        else:
            bounds = {"begin": str(milliseconds(since))} | ({} if until is None else {"end": str(milliseconds(until))})
            answer = await getattr(client, method)({**bounds, **params})
            found = client.parse_ledger(answer["data"])
        # An entry that cannot be named or measured makes the whole answer one that cannot be read.
        parse_bills(found, self._connection.venue.bill_kinds, since)
        return found

    async def _open_stops(self, symbol: str | None) -> Sequence[Entry]:
        """Stops that rest at the venue, which lists them apart."""
        return await self._open_order_pages(symbol, OPEN_STOPS) if self._connection.profile.stop_orders else ()

    async def _open_order_pages(self, symbol: str | None, about: Entry) -> Sequence[Entry]:
        client, after = self._connection.client, self._connection.venue.open_orders_after
        full = page_size(client, "fetchOpenOrders")

        async def page(params: Entry) -> Sequence[Entry]:
            return await self._ask(
                "fetch_open_orders", lambda: client.fetch_open_orders(symbol, None, None, {**about, **params})
            )

        if after:
            return await collect_by_id(page, after, lambda order: str(order["id"]), full)
        found = await page({})
        if len(found) == full:
            logger.warning("open_orders_maybe_incomplete exchange=%s orders=%s", client.id, full)
        return found

    async def _trade_pages(
        self, symbol: str | None, venue_order_id: str | None, since: datetime | None, kind: MarketKind | None
    ) -> Sequence[Entry]:
        client, after = self._connection.client, self._connection.venue.fills_after
        start = None if since is None else milliseconds(since)
        by_order = venue_order_id is not None and client.has.get("fetchOrderTrades")
        by_kind = {} if kind is None else {"type": kind.value}
        full = page_size(client, "fetchMyTrades")

        async def page(begin: int | None, extra: Entry) -> Sequence[Entry]:
            params = {**by_kind, **extra}
            if by_order:
                return await self._ask(
                    "fetch_order_trades", lambda: client.fetch_order_trades(venue_order_id, symbol, begin, None, params)
                )
            return await self._ask("fetch_my_trades", lambda: client.fetch_my_trades(symbol, begin, None, params))

        if start is None and venue_order_id is None:
            return await page(None, {})
        if after is None:
            return await collect_by_time(
                lambda begin, until: page(begin, {} if until is None else {"until": until}), start, full
            )
        parameter, key = after
        return await collect_by_id(
            lambda extra: page(start, extra), parameter, lambda trade: str(trade["info"][key]), full
        )

    def _asks_by_kind(self, symbol: str | None) -> bool:
        return symbol is None and self._connection.venue.fills_by_kind

    def _known(self, what: str, entries: Sequence[Entry], markets: Mapping[str, Market]) -> list[tuple[Entry, Market]]:
        """The entries with their markets, without those whose market is left out here."""
        for symbol in {str(entry.get("symbol")) for entry in entries} - markets.keys():
            if (what, symbol) not in self._left_out:
                self._left_out.add((what, symbol))
                logger.warning("left_out what=%s symbol=%s reason=neither spot nor linear swap", what, symbol)
        return [(entry, markets[entry["symbol"]]) for entry in entries if entry.get("symbol") in markets]

    async def _ask(self, operation: str, request: Any) -> Any:
        await self._connection.load_markets()
        return await self._connection.ask(operation, request, priority=Priority.ACCOUNT)
