"""Stores as released versions of Kontor left them: one life of a desk, written by each version's own code.

Every revision on main counts as released, for somebody may run it: a test fails while a revision has no dump. The
dumps in tests/contract/store/released were made by running this file on the version that they are named after:

    make store-dump

Run that with the change that brings a new revision, and never change a dump. What the new revision can hold that no
other could belongs into `live_a_life` first, behind the revision that has it (`LEDGER_SINCE` and its like).
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from kontor.domain.account import Balance, CurrencyBalance, Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.market import Market, MarketKind, Ticker
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side, advance
from kontor.domain.ranges import Range
from kontor.ports import Store
from kontor.store import open_store
from kontor.store.migrations import HEAD
from tests.support.postgres import PostgresServer, running_postgres

ACCOUNT = "paper"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BTC, SPOT = "BTC/USD:USD", "BTC/USD"
STOP = "stops"
# What pg_dump says about the session that reads it: versions differ in it, and none of it is the database's.
SESSION = ("SET ", "SELECT pg_catalog.set_config", "--", "\\restrict", "\\unrestrict")

# The first revision that has them.
MOVES_SINCE, LEDGER_SINCE, EQUITY_SINCE = "0002", "0003", "0005"
# Rows of orders, their events and fills in a store of each revision, by the first that has so many.
ROWS = {"0001": (6, 15, 3), "0003": (7, 18, 3)}


def at(seconds: float) -> datetime:
    """The moment some seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


async def live_a_life(store: Store) -> None:
    """Everything that the first release could store, with odd values among it."""
    await _watch_markets(store)
    await _hold_an_account(store)
    await _trade(store)
    await _run_a_desk(store)
    if HEAD >= MOVES_SINCE:
        await _be_moved_from_outside(store)
    if HEAD >= LEDGER_SINCE:
        await _book(store)
    if HEAD >= EQUITY_SINCE:
        await store.account.save_equity(ACCOUNT, Decimal("100000.000000001"), NOW)
        await store.account.save_equity(ACCOUNT, Decimal("99999.5"), at(60))


def without_what_came_later(found: dict[str, Any], revision: str) -> dict[str, Any]:
    """Of `everything` what a store of that revision can have held."""
    then = dict(found)
    if revision < MOVES_SINCE:
        then["outside_moves"] = []
        then["attributes"] = {name: each for name, each in then["attributes"].items() if name != "holdings"}
    if revision < LEDGER_SINCE:
        then["ledger"] = []
        then["markets"] = {symbol: replace(market, delists_at=None) for symbol, market in then["markets"].items()}
        then["orders"] = [order for order in then["orders"] if order.client_order_id != STOP]
        then["events"] = {name: each for name, each in then["events"].items() if name != STOP}
    if revision < EQUITY_SINCE:
        then["equity_history"] = []
    return then


async def everything(store: Store) -> dict[str, Any]:
    """All of it, as the store answers, in a form that can be compared."""
    market, account, orders, desk = store.market, store.account, store.orders, store.desk
    kept = await orders.find(ACCOUNT)
    candles = await market.candles(ACCOUNT, "1m", [BTC])
    return {
        "markets": await market.markets(ACCOUNT),
        "watchlist": await market.watchlist(ACCOUNT),
        "tickers": await market.tickers(ACCOUNT),
        "candles": {symbol: each.tolist() for symbol, each in candles.items()},
        "ranges": await market.ranges(ACCOUNT),
        "balance": await account.balance(ACCOUNT),
        "initial_capital": await account.initial_capital(ACCOUNT),
        "balance_history": await account.balance_history(ACCOUNT),
        "positions": await account.positions(ACCOUNT),
        "open_orders": await account.open_orders(ACCOUNT),
        "orders": kept,
        "events": {order.client_order_id: await orders.events(order.client_order_id) for order in kept},
        "fills": await orders.fills(ACCOUNT),
        "short_of_fills": await orders.short_of_fills(ACCOUNT),
        "strategy_fills": await orders.strategy_fills(ACCOUNT),
        "due": await orders.due(ACCOUNT),
        "attributes": await desk.attributes(ACCOUNT),
        "heartbeats": await desk.heartbeats(ACCOUNT),
        "lease": await desk.lease(f"executor:{ACCOUNT}"),
        "outside_moves": await account.outside_moves(ACCOUNT),
        "ledger": await account.ledger(ACCOUNT),
        "equity_history": await account.equity_history(ACCOUNT),
    }


async def _watch_markets(store: Store) -> None:
    step, cent = Decimal("0.1"), Decimal("0.01")
    swap = Market(BTC, MarketKind.SWAP, "BTC", "USD", "USD", True, cent, cent, step, cent)
    least = Decimal("1e-5")
    spot = Market(SPOT, MarketKind.SPOT, "BTC", "USD", None, False, Decimal(1), Decimal("1e-8"), step, least)
    if HEAD >= LEDGER_SINCE:
        swap = replace(swap, delists_at=at(86400))
    await store.market.save_markets(ACCOUNT, {BTC: swap, SPOT: spot}, NOW)
    await store.market.save_watchlist(ACCOUNT, [BTC, SPOT], NOW)
    tickers = [Ticker(BTC, Decimal("60000.5"), NOW, bid=Decimal(60000)), Ticker(SPOT, None, at(1))]
    await store.market.save_tickers(ACCOUNT, tickers, NOW)
    candles = np.arange(200 * 6, dtype=np.float64).reshape(200, 6)
    candles[:, 0] = (29_000_123 + np.arange(200)) * 60_000.0
    await store.market.save_candles(ACCOUNT, "1m", {BTC: candles})
    await store.market.save_ranges(ACCOUNT, [Range(BTC, Decimal(61000), None, "5m", None, NOW)])


async def _hold_an_account(store: Store) -> None:
    held = CurrencyBalance(Decimal("99999.99"), Decimal("0.01"), Decimal(100000))
    for seconds, total in ((0, Decimal(100000)), (60, Decimal("100000.000000001"))):
        balance = Balance("USD", total, Decimal("99999.99"), Decimal("0.01"), at(seconds), {"USD": held})
        await store.account.save_balance(ACCOUNT, balance)
    short = Position(
        BTC, PositionSide.SHORT, Decimal("0.1"), Decimal(60000), None, None, None, Decimal(3), "cross", NOW
    )
    await store.account.save_positions(ACCOUNT, [short], NOW)
    report = OrderReport(
        symbol=BTC,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        state=OrderState.ACCEPTED,
        quantity=Decimal("0.1"),
        filled_quantity=Decimal(0),
        venue_order_id="v1",
        at=NOW,
        client_order_id="rests",
        price=Decimal(50000),
    )
    await store.account.save_open_orders(ACCOUNT, [report], NOW)


async def _trade(store: Store) -> None:
    """An order for each way it can be left: never sent, of unknown outcome, live, filled in part and whole, refused."""
    s = OrderState
    await _order(store, "waits")
    await _order(store, "unknown", (s.SUBMITTED, {"submitted_at": at(1), "unknown_since": at(1), "attempts": 2}))
    sent = (s.SUBMITTED, {"submitted_at": at(1), "attempts": 1})
    await _order(store, "rests", sent, (s.ACCEPTED, {"venue_order_id": "v1", "cancel_requested_at": at(3)}))
    partly = {"venue_order_id": "v2", "filled_quantity": Decimal("0.04"), "average_price": Decimal(60000)}
    await _order(store, "partly", sent, (s.PARTIALLY_FILLED, partly))
    whole = {"venue_order_id": "v3", "filled_quantity": Decimal("0.1"), "average_price": Decimal("60000.123456789")}
    await _order(store, "filled", sent, (s.FILLED, whole), strategy="trend")
    await _order(store, "refused", sent, (s.REJECTED, {"reason": "insufficient funds: 'ünïcode'; -- \\ %s"}))
    fills = [
        Fill("t1", BTC, Side.BUY, Decimal("0.04"), Decimal(60000), at(2), "v2", "partly", Decimal("0.5"), "USD", True),
        Fill("t2", BTC, Side.BUY, Decimal("0.1"), Decimal("60000.123456789"), at(3), "v3", "filled"),
        Fill("t1", SPOT, Side.SELL, Decimal("1e-8"), Decimal(60001), at(4), "by-hand"),
    ]
    await store.orders.save_fills(ACCOUNT, fills)


async def _order(
    store: Store,
    name: str,
    *steps: tuple[OrderState, dict[str, Any]],
    strategy: str | None = None,
    trigger: Decimal | None = None,
) -> None:
    order = Order(
        name,
        account=ACCOUNT,
        symbol=BTC,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal("0.1"),
        created_at=NOW,
        price=Decimal("60000.5"),
        good_until=at(60),
        strategy=strategy,
        actor=f"strategy {strategy}" if strategy else "flow run brave-ant",
    )
    if trigger is not None:
        order = replace(order, trigger_price=trigger)
    (stored,) = await store.orders.enqueue([order], order.actor)
    for number, (state, changes) in enumerate(steps, 1):
        new = advance(stored, state, at(number), **changes)
        assert await store.orders.record(
            [(stored, new)], actor="execute-orders", at=at(number), detail=f"step {number}"
        )
        stored = new


async def _run_a_desk(store: Store) -> None:
    desk = store.desk
    await desk.set_attribute(ACCOUNT, "halted", {"reason": "by hand", "actor": "me", "blocked": False}, NOW)
    await desk.set_attribute(ACCOUNT, "gate", {"open": True}, NOW)
    await desk.increment(ACCOUNT, "generation", NOW)
    await desk.beat(ACCOUNT, "update-tickers", NOW, duration=timedelta(seconds=0.25))
    await desk.beat(ACCOUNT, "update-balance", NOW, error="no answer within 10 s")
    await desk.acquire_lease(f"executor:{ACCOUNT}", "execute-orders brave-ant", timedelta(seconds=10), NOW)
    await desk.desk_prefix()


async def _book(store: Store) -> None:
    """A stop that rests at the venue, and the account's money row by row."""
    from kontor.domain.ledger import EntryKind, LedgerEntry, entry_of_fill

    sent = (OrderState.SUBMITTED, {"submitted_at": at(1), "attempts": 1})
    await _order(store, STOP, sent, (OrderState.ACCEPTED, {"venue_order_id": "v4"}), trigger=Decimal("55000.5"))
    fee = Fill("t1", BTC, Side.BUY, Decimal("0.04"), Decimal(60000), at(2), "v2", "partly", Decimal("0.5"), "USD", True)
    funding = LedgerEntry(
        "bill:b1", EntryKind.FUNDING, at(5), BTC, currency="USD", amount=Decimal("-0.000000001"), coin_price=Decimal(1)
    )
    await store.account.book(ACCOUNT, [entry_of_fill(fee, "trend", Decimal(1)), funding])


async def _be_moved_from_outside(store: Store) -> None:
    from kontor.domain.outside import OutsideKind, OutsideMove

    came = OutsideMove("transfer:1", OutsideKind.TRANSFER, NOW, Decimal("1000.5"), currency="USD")
    await store.account.settle(ACCOUNT, [came], "holdings", {"USD": "1000.5"}, NOW, since=None)


def sqlite_dump(path: Path) -> str:
    """A whole SQLite file as statements."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def postgres_dump(server: PostgresServer, url: str) -> str:
    """A whole PostgreSQL database as statements that any version takes."""
    command = [str(server.binaries / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", "-d", url]
    written = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line for line in written.splitlines() if line and not line.startswith(SESSION)]
    return "\n".join(lines) + "\n"


async def _lived(url: str) -> None:
    store = open_store(url)
    try:
        await store.migrate()
        await live_a_life(store)
    finally:
        await store.close()


def main(folder: Path) -> None:
    """Write the two dumps of this version."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "kontor.db"
        asyncio.run(_lived(f"sqlite:///{path}"))
        (folder / f"r{HEAD}.sqlite.sql").write_text(sqlite_dump(path), encoding="utf-8")
    with running_postgres() as server:
        url = server.create_database()
        asyncio.run(_lived(url))
        (folder / f"r{HEAD}.postgresql.sql").write_text(postgres_dump(server, url), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
