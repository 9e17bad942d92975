"""The desk's store from outside a flow: its address comes from the block, as it does inside one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deployments.home import Home
from deployments.prefect_api import PrefectApi
from kontor.errors import KontorError
from kontor.ports import Store

STORE_BLOCK_TYPE, STORE_BLOCK = "kontor-state-store", "default"


async def store_url(api: PrefectApi, home: Home) -> str:
    """The address in the block StateStore `default`; the embedded file in the home when it names none."""
    values = await api.block_values(STORE_BLOCK_TYPE, STORE_BLOCK) or {}
    return values.get("url") or home.default_store_url


def known_store_url(home: Home) -> str:
    """The same without a server, from Prefect's database; the embedded file when that cannot be read."""
    # Needs cryptography, which `kontor --help` need not wait for.
    from deployments.block_secrets import read_block

    try:
        values = read_block(home, STORE_BLOCK_TYPE, STORE_BLOCK) or {}
    except KontorError:
        values = {}
    return str(values.get("url") or "") or home.default_store_url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """The store at an address, closed at the end."""
    from kontor.store import open_store

    store = open_store(url)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_desk_store(api: PrefectApi, home: Home) -> AsyncIterator[Store]:
    """The store that the desk's block names, closed at the end."""
    async with opened(await store_url(api, home)) as store:
        yield store
