"""What tests of a desk's home share: a home with orders in its store, and the block that names another store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from cryptography.fernet import Fernet

from deployments.block_secrets import settle_key
from deployments.credentials import make_auth, read_key
from deployments.home import Home
from deployments.stores import opened
from kontor.domain.order import Order, OrderType, Side

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = "paper"


def order(name: str) -> Order:
    return Order(
        client_order_id=name,
        account=ACCOUNT,
        symbol="BTC/USD",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1),
        price=Decimal(100),
        created_at=NOW,
    )


async def a_home(path: Path, *statements: str, orders: Sequence[Order] = ()) -> Home:
    """A home with secrets, a store that holds these orders, and a database of Prefect's that the statements made."""
    home = Home(path)
    home.make()
    make_auth(home)
    async with opened(home.default_store_url) as store:
        await store.migrate()
        await store.orders.enqueue(orders, "test")
    home.prefect_database.parent.mkdir()
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    settle_key(home)
    return home


def silent(_: str) -> None:
    """Takes what is said."""


def write_store_block(home: Home, url: str) -> None:
    """What Prefect's database holds for a store that a person has named."""
    data = Fernet(read_key(home)).encrypt(json.dumps({"url": url}).encode()).decode()
    with closing(sqlite3.connect(home.prefect_database, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE block_type (id, slug)")
        connection.execute("CREATE TABLE block_document (id, name, data, block_type_id)")
        connection.execute("INSERT INTO block_type VALUES ('t', 'kontor-state-store')")
        connection.execute("INSERT INTO block_document VALUES ('d', 'default', ?, 't')", (json.dumps(data),))
