"""The venue's memory: one SQLite file that holds at any moment exactly what clients have been told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from kontor.paper.accounts import KEPT_ALGOS, KEPT_BILLS, KEPT_CLIENT_IDS, KEPT_FILLS, KEPT_ORDERS, Account
from kontor.paper.algos.model import AlgoOrder
from kontor.paper.changes import Sequences
from kontor.paper.model import AccountConfig, Bill, Fill, Order, VenueError
from kontor.paper.positions import PositionState
from kontor.paper.prices.shocks import Shock
from kontor.paper.state import State
from kontor.paper.tables import Table

T = TypeVar("T")
_SEQUENCES = tuple(field.name for field in fields(Sequences))
_CHECKPOINT_PAGES = 8000  # 32 MB: each checkpoint waits for the disk
_KEPT_ROWS = 500_000  # orders, fills and bills beyond this many are forgotten at the next start


@dataclass(frozen=True, slots=True)
class _AccountRow:
    name: str
    number: int
    api_key: str
    secret: str
    passphrase: str
    parent: str | None
    permissions: str
    leverages: str
    cancel_after: int


@dataclass(frozen=True, slots=True)
class _CashRow:
    account: str
    ccy: str
    balance: Decimal


@dataclass(frozen=True, slots=True)
class _DepthRow:
    inst_id: str
    bids: int
    bids_at: int
    asks: int
    asks_at: int


@dataclass(frozen=True, slots=True)
class _SettingRow:
    name: str
    value: str


_ACCOUNTS = Table("accounts", _AccountRow, ("name",))
_CASH = Table("cash", _CashRow, ("account", "ccy"))
_POSITIONS = Table("positions", PositionState, ("account", "inst_id"))
_ORDERS = Table("orders", Order, ("account", "ord_id"))
_ALGOS = Table("algos", AlgoOrder, ("account", "algo_id"))
_FILLS = Table("fills", Fill, ("account", "bill_id"))
_BILLS = Table("bills", Bill, ("account", "bill_id"))
_DEPTHS = Table("depths", _DepthRow, ("inst_id",))
_SETTINGS = Table("settings", _SettingRow, ("name",))
_TABLES = (_ACCOUNTS, _CASH, _POSITIONS, _ORDERS, _ALGOS, _FILLS, _BILLS, _DEPTHS, _SETTINGS)


class Journal:
    """The file, held by one process at a time."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)  # it holds the accounts' secrets
        self._settings: dict[str, str] = {}  # as last written, to write only what changed
        self._accounts: dict[str, _AccountRow] = {}
        self._database = sqlite3.connect(self._path, isolation_level=None, timeout=0.5, check_same_thread=False)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._database.close()
            if "locked" in str(error):
                raise RuntimeError(
                    f"{self._path}: another paper exchange is using this file; stop it or choose another one"
                ) from error
            raise RuntimeError(
                f"{self._path}: not usable as the paper exchange's state ({error}); move it away to start afresh"
            ) from error

    def _open(self) -> None:
        database = self._database
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            "PRAGMA synchronous = NORMAL"
        )  # survives the process; a power cut may cost the last moments, never the file
        database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        database.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            table.create(database)
        self._forget()
        database.execute("COMMIT")

    def _forget(self) -> None:
        """Drop the oldest rows beyond the bound, open orders excepted."""
        for name, key, closed in (
            ("orders", "ord_id", "AND state IN ('filled', 'canceled')"),
            ("algos", "algo_id", "AND state <> 'live'"),
            ("fills", "bill_id", ""),
            ("bills", "bill_id", ""),
        ):
            (count,) = self._database.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608 names are ours
            if count > _KEPT_ROWS:
                oldest = f"SELECT {key} FROM {name} ORDER BY {key} DESC LIMIT 1 OFFSET {_KEPT_ROWS}"  # noqa: S608 names are ours
                self._database.execute(f"DELETE FROM {name} WHERE {key} <= ({oldest}) {closed}")  # noqa: S608 names are ours

    def settings(self) -> dict[str, str]:
        """What the stored state was made with; empty for a new file."""
        return {row.name: row.value for row in _SETTINGS.read(self._database)}

    def write(self, state: State, settings: dict[str, str]) -> None:
        """Store every change in one transaction, or raise VenueError 50013 and store nothing."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._write(state, settings)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._accounts.clear()
            self._settings.clear()
            raise VenueError("50013", f"System is busy, please try again later. ({error})") from error

    def _write(self, state: State, settings: dict[str, str]) -> None:
        database, changes, market = self._database, state.changes, state.market
        _ORDERS.write(database, changes.orders.values())
        _ALGOS.write(database, changes.algos.values())
        _FILLS.write(database, changes.fills)
        _BILLS.write(database, changes.bills)
        _POSITIONS.write(database, changes.positions.values())
        accounts = [_account_row(account) for account in changes.accounts.values()]
        _ACCOUNTS.write(database, [row for row in accounts if self._accounts.get(row.name) != row])
        self._accounts.update({row.name: row for row in accounts})
        moved = {(bill.account, bill.ccy): bill.balance for bill in changes.bills}
        _CASH.write(database, [_CashRow(name, ccy, balance) for (name, ccy), balance in moved.items()])
        _DEPTHS.write(
            database, [_DepthRow(market.listed[i].inst_id, *market.depths[i].state()) for i in changes.depths]
        )
        sequences = " ".join(str(getattr(state.sequences, name)) for name in _SEQUENCES)
        stored = {**settings, "step_at": str(state.step * market.tick_ms), "sequences": sequences}
        if changes.shocked:
            shocks = [(key, step * market.tick_ms, factor) for key, step, factor in market.source.shocks()]
            stored["shocks"] = json.dumps(shocks)
        _SETTINGS.write(
            database, [_SettingRow(name, value) for name, value in stored.items() if self._settings.get(name) != value]
        )
        self._settings.update(stored)

    def load(self, state: State) -> None:
        """Put everything stored into a fresh state."""
        settings, database = self.settings(), self._database
        if not settings:
            return
        state.step = min(state.step, int(settings["step_at"]) // state.market.tick_ms)
        # An older file knows fewer of them: those added since begin at 0.
        for name, value in zip(_SEQUENCES, settings["sequences"].split(), strict=False):
            setattr(state.sequences, name, int(value))
        for price_key, at_ms, factor in json.loads(settings.get("shocks", "[]")):
            state.market.shock(Shock(price_key, at_ms // state.market.tick_ms, factor))
        for row in sorted(_ACCOUNTS.read(database), key=lambda row: row.number):
            self._load_account(state, row)
        for row in _DEPTHS.read(database):
            if row.inst_id in {i.inst_id for i in state.market.listed}:
                index = state.market.instrument(row.inst_id).index
                state.market.depths[index].restore((row.bids, row.bids_at, row.asks, row.asks_at))

    def _load_account(self, state: State, row: _AccountRow) -> None:
        database, name = self._database, row.name
        account = state.accounts.put(
            AccountConfig(
                name, row.api_key, row.secret, row.passphrase, (), row.parent, tuple(json.loads(row.permissions))
            )
        )
        account.cancel_after = row.cancel_after
        account.leverages = {inst_id: Decimal(lever) for inst_id, lever in json.loads(row.leverages).items()}
        account.cash = {cash.ccy: cash.balance for cash in _CASH.read(database, "WHERE account = ?", (name,))}
        account.positions = {
            p.inst_id: p for p in _POSITIONS.read(database, "WHERE account = ? ORDER BY pos_id", (name,))
        }
        account.fills.extend(
            _newest_last(_FILLS.read(database, "WHERE account = ? ORDER BY bill_id DESC LIMIT ?", (name, KEPT_FILLS)))
        )
        account.bills.extend(
            _newest_last(_BILLS.read(database, "WHERE account = ? ORDER BY bill_id DESC LIMIT ?", (name, KEPT_BILLS)))
        )
        self._load_orders(state, account)

    def _load_orders(self, state: State, account: Account) -> None:
        database, name = self._database, account.info.name
        ids = database.execute(
            "SELECT cl_ord_id, ord_id FROM orders WHERE account = ? AND cl_ord_id <> '' ORDER BY ord_id DESC LIMIT ?",
            (name, KEPT_CLIENT_IDS),
        )
        account.client_ids = dict(reversed(list(ids)))
        finished = "WHERE account = ? AND state IN ('filled', 'canceled') ORDER BY ord_id DESC LIMIT ?"
        for order in _newest_last(_ORDERS.read(database, finished, (name, KEPT_ORDERS))):
            account.by_ord_id[order.ord_id] = order
            account.finished.append(order)
        for order in _ORDERS.read(
            database, "WHERE account = ? AND state IN ('live', 'partially_filled') ORDER BY ord_id", (name,)
        ):
            account.by_ord_id[order.ord_id] = account.open_orders[order.ord_id] = order
            self._rest(state, order)
        self._load_algos(state, account)
        for inst_id in account.positions:
            self._check_listed(state, inst_id)
        account.u_time = max((o.u_time for o in account.by_ord_id.values()), default=0)
        account.u_time = max(account.u_time, account.bills[-1].ts if account.bills else 0)

    def _load_algos(self, state: State, account: Account) -> None:
        name, database = account.info.name, self._database
        ended = "WHERE account = ? AND state <> 'live' ORDER BY algo_id DESC LIMIT ?"
        algos = list(_ALGOS.read(database, ended, (name, KEPT_ALGOS)))
        algos += _ALGOS.read(database, "WHERE account = ? AND state = 'live'", (name,))
        for algo in sorted(algos, key=lambda algo: algo.algo_id):
            account.remember_algo(algo)
            if algo.is_live:
                self._check_listed(state, algo.inst_id)
                state.await_price(algo)
        for order in account.open_orders.values():
            for row in json.loads(order.attached or "[]"):
                if row["attachAlgoClOrdId"]:
                    account.algo_client_ids[row["attachAlgoClOrdId"]] = ""

    def _rest(self, state: State, order: Order) -> None:
        self._check_listed(state, order.inst_id)
        state.rest(order)

    def _check_listed(self, state: State, inst_id: str) -> None:
        try:
            state.market.instrument(inst_id)
        except VenueError:
            raise RuntimeError(
                f"{self._path}: holds orders or positions in {inst_id}, which is not among the "
                f"{len(state.market.listed)} markets listed now; "
                "start with the markets it was made with, or with another state file"
            ) from None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _account_row(account: Account) -> _AccountRow:
    info = account.info
    return _AccountRow(
        name=info.name,
        number=account.number,
        api_key=info.api_key,
        secret=info.secret,
        passphrase=info.passphrase,
        parent=info.parent,
        permissions=json.dumps(info.permissions),
        leverages=json.dumps({inst_id: str(lever) for inst_id, lever in account.leverages.items()}),
        cancel_after=account.cancel_after,
    )


def _newest_last(rows: Iterable[T]) -> list[T]:
    return list(rows)[::-1]
