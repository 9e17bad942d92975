"""Balances and their history, positions and open orders on a SQL database."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, delete, select

from kontor.domain.account import Balance, CurrencyBalance, Position
from kontor.domain.ledger import LedgerEntry
from kontor.domain.order import OrderReport
from kontor.domain.outside import OutsideMove
from kontor.domain.snapshot import Snapshot
from kontor.store.columns import plain
from kontor.store.database import Database
from kontor.store.desk import load_attribute, save_attribute
from kontor.store.equity import load_equity
from kontor.store.ledger import book_entries, load_entries
from kontor.store.outside import book_moves, load_moves
from kontor.store.rows import columns_of, upsert, values_of
from kontor.store.snapshots import load_snapshot, save_snapshot
from kontor.store.tables import account as tables


class SqlAccountStore:
    """The AccountStore port on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_balance(self, account: str, balance: Balance) -> None:
        """Store it, append it to the history; the first total ever above zero becomes the initial capital."""
        row = {
            **values_of(balance, without=["currencies"]),
            "account": account,
            "currencies": {name: _amounts(each) for name, each in balance.currencies.items()},
        }
        at_total = {"account": account, "at": balance.at, "total": balance.total}

        def work(conn: Connection) -> None:
            conn.execute(upsert(tables.balances), row)
            conn.execute(upsert(tables.balance_history), at_total)
            if balance.total > 0:
                conn.execute(upsert(tables.initial_capital, "DO NOTHING"), at_total)

        await self._database.write(work)

    async def balance(self, account: str) -> Balance | None:
        """The balance saved last."""
        query = select(*columns_of(tables.balances, Balance)).where(tables.balances.c.account == account)
        row = await self._database.read(lambda conn: conn.execute(query).one_or_none())
        if row is None:
            return None
        found = Balance(*row)
        return replace(found, currencies={name: _currency(each) for name, each in row.currencies.items()})

    async def initial_capital(self, account: str) -> Decimal | None:
        """The first total above zero that was ever saved."""
        query = select(tables.initial_capital.c.total).where(tables.initial_capital.c.account == account)
        return await self._database.read(lambda conn: conn.execute(query).scalar_one_or_none())

    async def balance_history(self, account: str, *, since: datetime | None = None) -> Sequence[Snapshot[Decimal]]:
        """Totals over time, oldest first."""
        history = tables.balance_history
        query = select(history.c.total, history.c.at).where(history.c.account == account).order_by(history.c.at)
        if since is not None:
            query = query.where(history.c.at >= since)
        rows = await self._database.read(lambda conn: conn.execute(query).all())
        return [Snapshot(row.total, row.at) for row in rows]

    async def save_equity(self, account: str, equity: Decimal, at: datetime) -> None:
        """Append to the history of equity."""
        row = {"account": account, "at": at, "equity": equity}
        await self._database.write(lambda conn: conn.execute(upsert(tables.equity_history), row), durable=False)

    async def equity_history(
        self, account: str, *, since: datetime | None = None, points: int | None = None
    ) -> Sequence[Snapshot[Decimal]]:
        """Equity over time, oldest first; with `points` the last of each of so many equal stretches of time."""
        return await self._database.read(lambda conn: load_equity(conn, account, since, points))

    async def prune_balances(self, account: str, *, before: datetime) -> int:
        """Drop both histories before a moment; returns how many rows went."""
        statements = [
            delete(table).where(table.c.account == account, table.c.at < before)
            for table in (tables.balance_history, tables.equity_history)
        ]
        return await self._database.write(lambda conn: sum(conn.execute(each).rowcount for each in statements))

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
        """Book moves from outside and set the attribute `name` in one transaction; see the port."""

        def work(conn: Connection) -> Sequence[OutsideMove] | None:
            self._database.serialize(conn, "attribute", account, name)
            stored = load_attribute(conn, account, name)
            if (stored.at if stored else None) != since:
                return None
            save_attribute(conn, account, name, baseline, at)
            return book_moves(conn, account, moves)

        return await self._database.write(work)

    async def outside_moves(
        self, account: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[OutsideMove]:
        """Booked moves, oldest first; of more than `limit` the newest."""
        return await self._database.read(lambda conn: load_moves(conn, account, since=since, limit=limit))

    async def book(self, account: str, entries: Sequence[LedgerEntry]) -> Sequence[LedgerEntry]:
        """Commit ledger entries by their source; returns those that were new."""
        return await self._database.write(lambda conn: book_entries(conn, account, entries)) if entries else []

    async def ledger(
        self, account: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[LedgerEntry]:
        """The ledger's entries, oldest first."""
        return await self._database.read(lambda conn: load_entries(conn, account, since=since, until=until))

    async def save_positions(self, account: str, positions: Sequence[Position], at: datetime) -> None:
        """Replace the account's positions."""
        rows = [values_of(position) for position in positions]
        await self._database.write(
            lambda conn: save_snapshot(self._database, conn, tables.positions, account, rows, at), durable=False
        )

    async def positions(self, account: str) -> Snapshot[tuple[Position, ...]] | None:
        """The positions saved last; None before the first save."""
        columns = columns_of(tables.positions, Position)
        found = await self._database.read(lambda conn: load_snapshot(conn, tables.positions, account, columns))
        return None if found is None else Snapshot(tuple(Position(*row) for row in found[0]), found[1])

    async def save_open_orders(self, account: str, orders: Sequence[OrderReport], at: datetime) -> None:
        """Replace the live snapshot of open orders."""
        rows = [values_of(report) for report in orders]
        await self._database.write(
            lambda conn: save_snapshot(self._database, conn, tables.open_orders, account, rows, at), durable=False
        )

    async def open_orders(self, account: str) -> Snapshot[tuple[OrderReport, ...]] | None:
        """The open orders saved last; None before the first save."""
        columns = columns_of(tables.open_orders, OrderReport)
        found = await self._database.read(lambda conn: load_snapshot(conn, tables.open_orders, account, columns))
        return None if found is None else Snapshot(tuple(OrderReport(*row) for row in found[0]), found[1])


def _amounts(balance: CurrencyBalance) -> dict[str, str]:
    return {name: plain(value) for name, value in values_of(balance).items()}


def _currency(amounts: Mapping[str, Any]) -> CurrencyBalance:
    return CurrencyBalance(**{name: Decimal(value) for name, value in amounts.items()})
