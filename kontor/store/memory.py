"""The store in memory: for tests, replays and trials; nothing survives the process."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from kontor.domain.account import Balance, Position
from kontor.domain.ledger import LedgerEntry
from kontor.domain.order import OrderReport
from kontor.domain.outside import OutsideMove
from kontor.domain.snapshot import Snapshot
from kontor.ports import Heartbeat, Lease
from kontor.store.columns import to_json
from kontor.store.equity import stretch_of
from kontor.store.leasing import LeaseRow, new_prefix, released, renewed, taken
from kontor.store.memory_market import MemoryMarketStore
from kontor.store.memory_orders import MemoryOrderQueue
from kontor.store.naming import added, merged


class MemoryStore:
    """The Store port in memory, with the same rules as on a database."""

    def __init__(self, prefix: str | None = None) -> None:
        self.market = MemoryMarketStore()
        self.desk = MemoryDeskState(prefix)
        self.account = MemoryAccountStore(self.desk)
        self.orders = MemoryOrderQueue(self.desk)

    async def migrate(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Let whoever waits for a change go."""
        self.orders.close()


class MemoryAccountStore:
    """The AccountStore port in memory."""

    def __init__(self, desk: "MemoryDeskState") -> None:
        self._desk = desk
        # By account and source, in the order of booking.
        self._moves: dict[str, dict[str, OutsideMove]] = {}
        self._ledger: dict[str, dict[str, LedgerEntry]] = {}
        self._balances: dict[str, Balance] = {}
        self._history: dict[str, dict[datetime, Decimal]] = {}
        self._equity: dict[str, dict[datetime, Decimal]] = {}
        self._initial: dict[str, Decimal] = {}
        self._positions: dict[str, Snapshot[tuple[Position, ...]]] = {}
        self._open_orders: dict[str, Snapshot[tuple[OrderReport, ...]]] = {}

    async def save_balance(self, account: str, balance: Balance) -> None:
        """Store it, append it to the history; the first total ever above zero becomes the initial capital."""
        self._balances[account] = balance
        self._history.setdefault(account, {})[balance.at] = balance.total
        if balance.total > 0:
            self._initial.setdefault(account, balance.total)

    async def balance(self, account: str) -> Balance | None:
        """The balance saved last."""
        return self._balances.get(account)

    async def initial_capital(self, account: str) -> Decimal | None:
        """The first total above zero that was ever saved."""
        return self._initial.get(account)

    async def balance_history(self, account: str, *, since: datetime | None = None) -> Sequence[Snapshot[Decimal]]:
        """Totals over time, oldest first."""
        history = sorted(self._history.get(account, {}).items())
        return [Snapshot(total, at) for at, total in history if since is None or at >= since]

    async def save_equity(self, account: str, equity: Decimal, at: datetime) -> None:
        """Append to the history of equity."""
        self._equity.setdefault(account, {})[at] = equity

    async def equity_history(
        self, account: str, *, since: datetime | None = None, points: int | None = None
    ) -> Sequence[Snapshot[Decimal]]:
        """Equity over time, oldest first; with `points` the last of each of so many equal stretches of time."""
        found = sorted((at, equity) for at, equity in self._equity.get(account, {}).items() if not since or at >= since)
        if points is not None and found:
            first, width = found[0][0], stretch_of(found[0][0], found[-1][0], points)
            found = list({(at - first) // width: (at, equity) for at, equity in found}.values())
        return [Snapshot(equity, at) for at, equity in found]

    async def prune_balances(self, account: str, *, before: datetime) -> int:
        """Drop both histories before a moment; returns how many rows went."""
        gone = 0
        for history in (self._history.get(account, {}), self._equity.get(account, {})):
            old = [at for at in history if at < before]
            gone += len(old)
            for at in old:
                del history[at]
        return gone

    async def settle(
        self,
        account: str,
        moves: Sequence[OutsideMove],
        name: str,
        baseline: Any,
        at: datetime,
        *,
        since: datetime | None,
    ) -> Sequence[OutsideMove] | None:
        """Book moves from outside and set the attribute `name` at once; see the port."""
        stored = self._desk.load_attribute(account, name)
        if (stored.at if stored else None) != since:
            return None
        self._desk.save_attribute(account, name, baseline, at)
        booked = self._moves.setdefault(account, {})
        new = [move for move in {move.source_id: move for move in moves}.values() if move.source_id not in booked]
        booked.update({move.source_id: move for move in new})
        return new

    async def outside_moves(
        self, account: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[OutsideMove]:
        """Booked moves, oldest first; of more than `limit` the newest."""
        moves = [move for move in self._moves.get(account, {}).values() if since is None or move.at >= since]
        return sorted(moves, key=lambda move: move.at)[-limit:] if limit > 0 else []

    async def book(self, account: str, entries: Sequence[LedgerEntry]) -> Sequence[LedgerEntry]:
        """Store ledger entries by their source; returns those that were new."""
        booked = self._ledger.setdefault(account, {})
        by_source = {entry.source_id: entry for entry in entries}
        new = [entry for source, entry in by_source.items() if source not in booked]
        booked.update({entry.source_id: entry for entry in new})
        return new

    async def ledger(
        self, account: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[LedgerEntry]:
        """The ledger's entries, oldest first."""
        found = [
            entry
            for entry in self._ledger.get(account, {}).values()
            if (since is None or entry.at >= since) and (until is None or entry.at < until)
        ]
        return sorted(found, key=lambda entry: entry.at)

    async def save_positions(self, account: str, positions: Sequence[Position], at: datetime) -> None:
        """Replace the account's positions."""
        self._positions[account] = Snapshot(tuple(positions), at)

    async def positions(self, account: str) -> Snapshot[tuple[Position, ...]] | None:
        """The positions saved last; None before the first save."""
        return self._positions.get(account)

    async def save_open_orders(self, account: str, orders: Sequence[OrderReport], at: datetime) -> None:
        """Replace the live snapshot of open orders."""
        self._open_orders[account] = Snapshot(tuple(orders), at)

    async def open_orders(self, account: str) -> Snapshot[tuple[OrderReport, ...]] | None:
        """The open orders saved last; None before the first save."""
        return self._open_orders.get(account)


class MemoryDeskState:
    """The DeskState port in memory."""

    def __init__(self, prefix: str | None = None) -> None:
        # As JSON text: nobody can change a stored value from outside, and what JSON cannot say is refused here too.
        self._attributes: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._heartbeats: dict[tuple[str, str], Heartbeat] = {}
        self._leases: dict[str, LeaseRow] = {}
        self._prefix = prefix or new_prefix()

    async def set_attribute(self, account: str, name: str, value: Any, at: datetime, *, merge: bool = False) -> None:
        """Store a JSON value under a name; with `merge`, update an object key by key."""
        self.save_attribute(
            account, name, merged(name, self.load_attribute(account, name), value) if merge else value, at
        )

    async def attribute(self, account: str, name: str) -> Snapshot[Any] | None:
        """A value with the moment it was set."""
        return self.load_attribute(account, name)

    async def attributes(self, account: str) -> Mapping[str, Snapshot[Any]]:
        """Every attribute by name."""
        return {
            name: Snapshot(orjson.loads(text), at)
            for (owner, name), (text, at) in sorted(self._attributes.items())
            if owner == account
        }

    async def update_attribute(
        self, account: str, name: str, change: Callable[[Any], Any], at: datetime, *, durable: bool = True
    ) -> Any:
        """Set an attribute to what `change` makes of its value; returns that. Nothing here is durable."""
        del durable
        stored = self.load_attribute(account, name)
        value = change(None if stored is None else stored.value)
        self.save_attribute(account, name, value, at)
        return value

    async def increment(self, account: str, name: str, at: datetime) -> int:
        """Add one to a counter attribute and return it."""
        number = added(name, self.load_attribute(account, name))
        self.save_attribute(account, name, number, at)
        return number

    async def beat(
        self, account: str, updater: str, at: datetime, *, error: str | None = None, duration: timedelta | None = None
    ) -> None:
        """Report a success, or with `error` a failure, which leaves the last success alone."""
        last = self._heartbeats.get((account, updater)) or Heartbeat(updater, None, None, None, None)
        self._heartbeats[account, updater] = Heartbeat(
            updater,
            last_success_at=at if error is None else last.last_success_at,
            last_failure_at=last.last_failure_at if error is None else at,
            last_error=last.last_error if error is None else error,
            duration=last.duration if duration is None else duration,
        )

    async def heartbeats(self, account: str) -> Mapping[str, Heartbeat]:
        """What each updater reported last."""
        return {updater: beat for (owner, updater), beat in sorted(self._heartbeats.items()) if owner == account}

    async def acquire_lease(self, name: str, owner: str, ttl: timedelta, now: datetime) -> Lease | None:
        """The lease, if free, lapsed or already this owner's (same fencing number then); None while it is held."""
        row = taken(self._leases.get(name), Lease(name, owner, 0, now + ttl), now)
        if row is None:
            return None
        self._leases[name] = row
        return row.lease

    async def renew_lease(self, lease: Lease, ttl: timedelta, now: datetime) -> Lease:
        """The lease, longer; raises LeaseLost when it lapsed or somebody else has it."""
        self._leases[lease.name] = renewed(self._leases.get(lease.name), lease, ttl, now)
        return self._leases[lease.name].lease

    async def release_lease(self, lease: Lease) -> None:
        """Give it back; one that is already somebody else's is left alone."""
        row = released(self._leases.get(lease.name), lease)
        if row is not None:
            self._leases[lease.name] = row

    async def lease(self, name: str) -> Lease | None:
        """Who holds it now, or held it last."""
        row = self._leases.get(name)
        return None if row is None else row.lease

    async def desk_prefix(self) -> str:
        """Four lower-case characters that mark this desk's client order ids."""
        return self._prefix

    def newest_fencing(self, name: str) -> int | None:
        """The number given out last for a lease."""
        row = self._leases.get(name)
        return None if row is None else row.lease.fencing

    def save_attribute(self, account: str, name: str, value: Any, at: datetime) -> None:
        """Set a value, also as part of something larger."""
        self._attributes[account, name] = to_json(value), at

    def load_attribute(self, account: str, name: str) -> Snapshot[Any] | None:
        """A value with the moment it was set."""
        found = self._attributes.get((account, name))
        return None if found is None else Snapshot(orjson.loads(found[0]), found[1])
