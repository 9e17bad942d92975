"""What the runs of a process share goes on working while Prefect's API is away."""

from __future__ import annotations

import time

import httpx
import pytest

from kontor.errors import ConfigError
from kontor.ports import ExchangeSettings
from kontor.store.memory import MemoryStore
from tasks import resources
from tasks.resources import BLOCK_SECONDS, Resources

KNOWN = ExchangeSettings("okx", "main", mode="paper")


@pytest.fixture
def known() -> Resources:
    """A process that read its blocks a while ago."""
    made, read_at = Resources(), time.monotonic() - BLOCK_SECONDS - 1
    made._store_url, made._stores = (read_at, "memory"), {"memory": MemoryStore()}
    made._settings["main"] = read_at, KNOWN
    return made


def read_blocks_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def load(*_: object) -> None:
        raise error

    monkeypatch.setattr(resources, "load_block", load)


async def test_blocks_that_cannot_be_read_for_a_while_are_as_they_were(
    known: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A breaker that opens while the server starts anew could not be told of, and was never told again."""
    read_blocks_with(monkeypatch, httpx.ConnectError("connection refused"))
    assert await known.store() is known._stores["memory"]
    assert await known.settings("main") == KNOWN


async def test_what_was_never_read_and_what_is_gone_are_told(known: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is no reason to go on with a block that somebody has removed."""
    read_blocks_with(monkeypatch, httpx.ConnectError("connection refused"))
    with pytest.raises(httpx.ConnectError):
        await Resources().store()
    with pytest.raises(httpx.ConnectError):
        await known.settings("other")
    read_blocks_with(monkeypatch, ConfigError("block exchange-account/main is missing"))
    for read in (known.store, lambda: known.settings("main")):
        with pytest.raises(ConfigError):
            await read()
