"""The heartbeat of a desk: one address for all accounts, so all of them must be well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kontor.desk import close_gate, open_gate
from kontor.resilience.clock import VirtualClock
from kontor.store.memory import MemoryStore
from tasks import watch as watching
from tasks.resources import Resources
from tasks.watch import Watch

INTERVALS = {"paper": {"update-balance": timedelta(seconds=30)}, "live": {"track-orders": timedelta(seconds=30)}}


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The watch of a healthy paper account, beside a live one."""

    async def intervals_by_account() -> Mapping[str, Mapping[str, timedelta]]:
        return INTERVALS

    async def find_block(*_: Any) -> Any:
        return SimpleNamespace(url=SimpleNamespace(get_secret_value=lambda: "https://example.com/ping"))

    monkeypatch.setattr(watching, "intervals_by_account", intervals_by_account)
    monkeypatch.setattr(watching, "find_block", find_block)
    store, clock = MemoryStore(), VirtualClock()
    watch = Watch("paper", store, cast("Resources", SimpleNamespace(clock=clock)))
    for account, updaters in INTERVALS.items():
        await open_gate(store.desk, account, clock.now())
        for updater in updaters:
            await store.desk.beat(account, updater, clock.now())
    return watch


@pytest.fixture
def asked(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked."""
    urls: list[str] = []

    async def beat(url: str, _now: float) -> bool:
        urls.append(url)
        return True

    monkeypatch.setattr(watch._heartbeat, "beat", beat)
    return urls


async def test_a_desk_whose_accounts_are_all_well_says_so(watch: Watch, asked: list[str]) -> None:
    """Both report in time."""
    await watch._say_well()
    assert asked == ["https://example.com/ping"]


async def test_a_healthy_account_does_not_hide_a_dead_one(
    watch: Watch, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The service that is asked cannot tell the accounts apart: whose silence is it?"""
    clock = cast("VirtualClock", watch.clock)
    await clock.advance(120)
    await watch.store.desk.beat("paper", "update-balance", clock.now())
    assert await watch.problem() == ""
    await watch._say_well()
    assert asked == []
    assert "live: down: track-orders" in caplog.text


async def test_an_account_whose_gate_is_closed_is_not_well(watch: Watch, asked: list[str]) -> None:
    """It is deployed, and does nothing."""
    await close_gate(watch.store.desk, "live", watch.clock.now())
    await watch._say_well()
    assert asked == []
