"""Apprise: any service by its URL, off the loop, and with the same patience as the other channels."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kontor.errors import ConfigError
from kontor.notify.apprise_channel import Apprise
from kontor.notify.delivery import Courier, Patience, Unreachable
from kontor.notify.queued import Queued
from kontor.notify.redaction import redact
from tests.contract.notify.conftest import an_alert
from tests.support.chat_server import FakeTime

TOKEN = "apprise-token-geheim"


@dataclass
class Hook:
    """A JSON webhook, as Apprise's json:// posts to it."""

    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    stall: threading.Event | None = None
    time: FakeTime = field(default_factory=FakeTime)

    def channel(self, **patience: float) -> Apprise:
        courier = Courier("apprise", Patience(**patience), self.time.sleep, self.time.monotonic)  # pyright: ignore[reportArgumentType]
        return Apprise(f"json://kontor:{TOKEN}@127.0.0.1:{self.port}/hook?cto=2&rto=2", courier=courier)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.stall is not None:
            await asyncio.to_thread(self.stall.wait, 5)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.got.append(await request.json())
        return web.Response(status=status)


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/hook", hook.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.port = runner.addresses[0][1]
    yield hook
    if hook.stall is not None:
        hook.stall.set()
    await runner.cleanup()


async def send(channel: Apprise, **alert: Any) -> None:
    async with aiohttp.ClientSession() as session:
        await channel.send(session, [Queued(an_alert(**alert), repeats=2)])


async def test_an_alert_arrives_with_all_its_facts(hook: Hook) -> None:
    """Title, text, facts, account and link, as plain text for whatever shows it."""
    fields = (("Symbol", "BTC/USD:USD"), ("Price", "64000"))
    await send(hook.channel(), severity="critical", account="paper", fields=fields, url="http://x/run")
    (got,) = hook.got
    assert (got["title"], got["type"]) == ("Title", "failure")
    for word in ("Text.", "Symbol: BTC/USD:USD", "Price: 64000", "2 more of these", "paper", "http://x/run"):
        assert word in got["message"]


async def test_a_failure_is_tried_again_and_given_up_within_the_budget(hook: Hook) -> None:
    """Apprise says only yes or no; no is taken for something that may pass."""
    hook.statuses = [500, 503]
    await send(hook.channel())
    assert len(hook.got) == 1
    hook.statuses = [500] * 100
    with pytest.raises(Unreachable) as caught:
        await send(hook.channel(budget_seconds=5.0))
    assert TOKEN not in str(caught.value)


async def test_a_service_that_stalls_holds_up_neither_the_loop_nor_the_exit(hook: Hook) -> None:
    """Its plugins block; their thread is one, and no exit waits for it."""
    hook.stall = threading.Event()
    channel = hook.channel(request_seconds=0.2, budget_seconds=0.1)
    started = time.perf_counter()
    for _ in range(3):
        with pytest.raises(Unreachable):
            await send(channel)
    assert time.perf_counter() - started < 3
    threads = [thread for thread in threading.enumerate() if thread.name == "apprise"]
    assert len(threads) == 1
    assert threads[0].daemon


def test_what_apprise_does_not_know_is_one_sentence_without_the_url() -> None:
    """The URL is the secret."""
    for url in ("nonsense", f"unknown://{TOKEN}", ""):
        with pytest.raises(ConfigError) as caught:
            Apprise(url)
        assert TOKEN not in str(caught.value)


def test_every_part_of_the_url_that_may_be_a_token_is_hidden() -> None:
    """Other libraries log what they connect to."""
    Apprise(f"json://user:{TOKEN}@example.com/path-token-4711")
    assert redact(f"POST https://example.com/path-token-4711 with {TOKEN}") == "POST https://example.com/*** with ***"
