"""A home as a desk leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.home import Home
from deployments.stores import opened
from kontor.ports import Store
from tests.unit.cli.homes import a_home, order


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    """A home with a store that holds orders, Prefect's database, and secrets."""
    orders = [order(f"order-{number}") for number in range(5)]
    return await a_home(tmp_path / "home", "PRAGMA journal_mode = WAL", "CREATE TABLE flow_run (id)", orders=orders)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    async with opened(home.default_store_url) as store:
        yield store
