"""Two senders that decide as one through a store: the same on one in memory and on a file that two processes open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kontor.notify import BackgroundSender, Outlet, StoredPacing
from kontor.notify.queued import Queued
from kontor.ports import Alert, DeskState, Store
from kontor.store import open_store
from kontor.store.memory import MemoryStore

ALERTS = 40


@dataclass
class Chat:
    """Keeps the titles."""

    name: str = "discord"
    is_for_people: bool = True
    titles: list[str] = field(default_factory=list)

    def fit(self, waiting: list[Queued]) -> int:
        return len(waiting)

    async def send(self, session: object, batch: list[Queued]) -> None:
        del session
        self.titles += [queued.alert.title for queued in batch]


@pytest.fixture(params=["memory", "sqlite"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Store]]:
    """The store as each of two processes has it."""
    if request.param == "memory":
        yield [MemoryStore()] * 2
        return
    opened = [open_store(f"sqlite:///{tmp_path}/store.db") for _ in range(2)]
    for store in opened:
        await store.migrate()
    yield opened
    for store in opened:
        await store.close()


def a_sender(store: Store, chat: Chat) -> BackgroundSender:
    async def source() -> Sequence[Outlet]:
        return [Outlet(chat)]

    async def state() -> DeskState:
        return store.desk

    return BackgroundSender(source, shared=StoredPacing(state))


async def test_two_senders_are_one_burst_and_one_digest_and_no_alert_is_forgotten(stores: list[Store]) -> None:
    """Five of forty go out, whoever had them; the rest waits in the store when both have ended."""
    chat = Chat()
    senders = [a_sender(store, chat) for store in stores]
    try:
        for number in range(ALERTS):
            alert = Alert(f"flow {number} failed", "", "warning", datetime.now(UTC), "paper", event="flow.failed")
            senders[number % 2].notify(alert)
            await asyncio.sleep(0)
        for sender in senders:
            await sender.drain(seconds=20)
        assert not any(sender._decisions.is_alone for sender in senders)
    finally:
        for sender in senders:
            await sender.close(seconds=5)
    assert len(chat.titles) == 5
    kept = await stores[0].desk.attribute("", "alerts_paced")
    assert kept is not None
    held = kept.value["channels"]["discord"]["held"]
    assert sum(count for _, count in held["titles"]) + held["unnamed"] == ALERTS - 5
