"""What a venue tells the owner of an account: orders, fills, positions and balance, as they change."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.order import OrderReport
from kontor.exchange.accounts import is_flat, parse_balance, parse_position
from kontor.exchange.fills import parse_fill
from kontor.exchange.order_reports import parse_order
from kontor.exchange.stream_channels import StreamChannels
from kontor.exchange.stream_entries import Entry

# ccxt keeps a thousand orders and a thousand trades, 10 KB each with what the venue has said, and we look at all of
# them whenever one changes.
KEPT_REPORTS = 300


class AccountStreams(StreamChannels):
    """The private channels."""

    async def orders(self, *, seconds: float) -> Sequence[OrderReport]:
        """What the venue says of orders, each as it stands now."""
        raw = await self._account("orders", "orders", self._client.watch_orders, seconds)
        return self._entries.parse_all("order", raw, parse_order)

    async def fills(self, *, seconds: float) -> Sequence[Fill]:
        """New trades of ours."""
        raw = await self._account("fills", "myTrades", self._client.watch_my_trades, seconds)
        return self._entries.parse_all("fill", raw, parse_fill)

    async def positions(self, *, seconds: float) -> Mapping[str, tuple[Position, ...]]:
        """The open positions of each symbol whose positions have changed; none when it is flat now."""
        raw = await self._account("positions", "positions", self._client.watch_positions, seconds)
        changed = {str(entry.get("symbol")) for entry in raw}
        entries = _entries(self._client.positions)
        held = [entry for entry in entries if entry.get("symbol") in changed and not is_flat(entry)]
        parsed = self._entries.parse_all("position", held, parse_position)
        return {
            symbol: tuple(position for position in parsed if position.symbol == symbol)
            for symbol in changed
            if symbol in self.connection.markets
        }

    async def balance(self, *, seconds: float) -> Balance | None:
        """The account as it is now; None when nothing has changed."""
        await self._prepare("balance", ())
        events = self.events
        raw = await self._wait("balance", self._client.watch_balance, 0.0 if events.balance else seconds)
        if events.tells_balances:
            # Of several in a row, ccxt wakes whoever waits for the first one only.
            raw, events.balance = events.balance, None
        if raw is None:
            return None
        return parse_balance(raw, self.connection.settings.capital_currency, self._clock.now())

    async def _account(
        self, name: str, cache: str, watch: Callable[[], Awaitable[Any]], seconds: float
    ) -> Sequence[Entry]:
        """The entries of one of ccxt's account caches that are new or have changed.

        The watch only subscribes, and tells of a lost connection: what arrives while nobody waits on it wakes nobody.
        """
        for option in ("ordersLimit", "tradesLimit"):
            self._client.options.setdefault(option, KEPT_REPORTS)
        channel = await self._prepare(name, ())
        if channel.pending is not None and channel.pending.done():
            # Before anything is taken from the cache: what it failed with must not take that along.
            await self._wait(name, watch, 0.0)

        def fresh() -> list[Entry]:
            found = _entries(getattr(self._client, cache))
            marks = {_key(entry): _mark(entry) for entry in found}
            if channel.seen and len(found) >= KEPT_REPORTS and marks.keys().isdisjoint(channel.seen):
                # More came at once than ccxt keeps: what fell out is asked for by REST.
                self.events.breaks += 1
            changed = [entry for entry in found if channel.seen.get(_key(entry)) != _mark(entry)]
            channel.seen = marks
            return changed

        with self.events.next_told() as told:
            news = fresh()
            pending = self._begun(name, watch)
            if not news:
                await asyncio.wait({pending, told}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if pending.done():
            await self._wait(name, watch, 0.0)
        return news or fresh()


def _entries(cache: Any) -> Sequence[Entry]:
    if not cache:
        return ()
    return list(cache.values()) if isinstance(cache, Mapping) else list(cache)


def _key(entry: Entry) -> str:
    return f"{entry.get('symbol')} {entry.get('id')} {entry.get('side')}"


def _mark(entry: Entry) -> tuple[Any, ...]:
    """What a change of an order, trade or position shows in; ccxt changes its entries in place."""
    names = ("status", "filled", "amount", "price", "lastUpdateTimestamp", "contracts", "entryPrice", "markPrice")
    return tuple(entry.get(name) for name in names)
