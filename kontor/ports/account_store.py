"""The port of what an account holds and held."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from kontor.domain.account import Balance, Position
from kontor.domain.ledger import LedgerEntry
from kontor.domain.order import OrderReport
from kontor.domain.outside import OutsideMove
from kontor.domain.snapshot import Snapshot


class AccountStore(Protocol):
    """Balances and their history, positions and the live snapshot of open orders."""

    async def save_balance(self, account: str, balance: Balance) -> None:
        """Store it, append it to the history; the first total ever above zero becomes the initial capital."""
        ...

    async def balance(self, account: str) -> Balance | None: ...

    async def initial_capital(self, account: str) -> Decimal | None: ...

    async def balance_history(self, account: str, *, since: datetime | None = None) -> Sequence[Snapshot[Decimal]]:
        """Totals over time, oldest first."""
        ...

    async def save_equity(self, account: str, equity: Decimal, at: datetime) -> None:
        """Append what the account is worth, in its capital currency, to the history of equity."""
        ...

    async def equity_history(
        self, account: str, *, since: datetime | None = None, points: int | None = None
    ) -> Sequence[Snapshot[Decimal]]:
        """Equity over time, oldest first; with `points` the last of each of so many equal stretches of time."""
        ...

    async def prune_balances(self, account: str, *, before: datetime) -> int:
        """Drop both histories before a moment; returns how many rows went."""
        ...

    async def save_positions(self, account: str, positions: Sequence[Position], at: datetime) -> None: ...

    async def positions(self, account: str) -> Snapshot[tuple[Position, ...]] | None: ...

    async def save_open_orders(self, account: str, orders: Sequence[OrderReport], at: datetime) -> None: ...

    async def open_orders(self, account: str) -> Snapshot[tuple[OrderReport, ...]] | None: ...

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
        """Book moves from outside and set the attribute `name` to the holdings they lead to, in one transaction.

        Returns the moves whose source had not been booked yet. None, and nothing is written, when the attribute is not
        the one of `since` (None: not set) any more: somebody else has compared meanwhile.
        """
        ...

    async def book(self, account: str, entries: Sequence[LedgerEntry]) -> Sequence[LedgerEntry]:
        """Commit ledger entries by their source; returns those that were new. One booked before stays as it is."""
        ...

    async def ledger(
        self, account: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[LedgerEntry]:
        """The ledger's entries from `since` up to before `until`, oldest first."""
        ...

    async def outside_moves(
        self, account: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[OutsideMove]:
        """Booked moves, oldest first; of more than `limit` the newest."""
        ...
