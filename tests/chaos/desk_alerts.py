"""Every alert that needs a whole desk: each trouble is really made, and what arrives in the chat is counted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.support import discord, telegram
from tests.support.desk import REPOSITORY, RunningDesk, put_away
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer

pytestmark = pytest.mark.timeout(1500)

HEARTBEAT = "heartbeat-uuid-of-the-campaign-4711"
SECRETS = (discord.TOKEN, telegram.TOKEN, HEARTBEAT)
AUTOMATIONS = 6
SWAP = "BTC/USD:USD"
# Every alert comes by itself: what is grouped has tests of its own.
LOUD = "channels: {discord: {grouping: {burst: 1000}}, telegram: {grouping: {burst: 1000}}}"
MAKE_CHANNELS = """
import asyncio, sys
from blocks.notifiers import CHANNELS, DiscordWebhook, HeartbeatUrl, TelegramBot
from kontor.config.alerts import AlertSettings
from prefect import get_client
from tasks.automations import ensure_automations
async def main(discord, token, chat, api_url, heartbeat):
    await DiscordWebhook(url=discord).asave("default")
    await TelegramBot(token=token, chat_id=chat, api_url=api_url).asave("default")
    await HeartbeatUrl(url=heartbeat).asave("default")
    async with get_client() as client:
        print(await ensure_automations(client, AlertSettings(), "desk"))
asyncio.run(main(*sys.argv[1:]))
"""


@dataclass
class Pulse:
    """Who is asked for the heartbeat, and when it was."""

    url: str
    beats: list[float] = field(default_factory=list)


@asynccontextmanager
async def pulse() -> AsyncIterator[Pulse]:
    """A service as healthchecks.io is."""

    async def answer(request: web.Request) -> web.StreamResponse:
        found.beats.append(time.monotonic())
        return web.Response(text="OK")

    app = web.Application()
    app.router.add_get(f"/ping/{HEARTBEAT}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found = Pulse(f"http://127.0.0.1:{runner.addresses[0][1]}/ping/{HEARTBEAT}")
    yield found
    await runner.cleanup()


@dataclass
class Scene:
    """A desk with both chats and a heartbeat, and what has been said so far."""

    desk: RunningDesk
    chat: DiscordServer
    bot: TelegramServer
    pulse: Pulse

    def told(self, title: str) -> int:
        """How often the desk itself has said this."""
        return sum(shown["title"].startswith(title) for shown in self.chat.embeds if _is_ours(shown))

    def by_prefect(self, title: str) -> int:
        """How often one of Prefect's automations has said this."""
        return sum(shown["title"].startswith(title) for shown in self.chat.embeds if not _is_ours(shown))

    async def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > seconds:
                pytest.fail(f"waited {seconds:.0f} s for {what}; the chat has {self.chat.titles}")
            await asyncio.sleep(0.2)

    async def hears(self, title: str, seconds: float = 60, *, prefect: bool = False, times: int = 1) -> None:
        """Wait until this has been said so often; more than that is a failure too."""
        count = self.by_prefect if prefect else self.told
        await self.until(lambda: count(title) >= times, seconds, f"{title!r}{' by Prefect' if prefect else ''}")
        assert count(title) == times, self.chat.titles

    async def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self.desk.run, deployment, **parameters)

    async def admin(self, method: str, **rule: Any) -> None:
        """The paper exchange's own hands."""
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{self.desk.paper_port}/admin/faults"
            (await client.request(method, url, json=rule or None)).raise_for_status()

    @asynccontextmanager
    async def faults(self, *rules: dict[str, Any]) -> AsyncIterator[None]:
        """The venue misbehaves meanwhile."""
        for rule in rules:
            await self.admin("POST", **rule)
        yield
        await self.admin("DELETE")


def _is_ours(shown: dict[str, Any]) -> bool:
    """Our own alerts name their account; a message of an automation knows only how bad it is."""
    return " · " in shown["footer"]["text"]


@asynccontextmanager
async def a_desk(folder: Path) -> AsyncIterator[Scene]:
    """A desk of its own that tells everything, with limits that leave the refusing to the venue."""
    project = folder / "project"
    project.mkdir()
    shutil.copy(REPOSITORY / "prefect.yaml", project)
    settings = (REPOSITORY / "kontor.yaml").read_text(encoding="utf-8")
    for known, changed in (
        ("channels: {}", f"{LOUD}\n  unknown_after_seconds: 5"),
        ("max_order_value: 25000", "max_order_value: 100000000"),
        ("max_position_value: 50000", "max_position_value: 100000000"),
        ("max_exposure: 100000", "max_exposure: 100000000"),
        ("  min_free_balance: 0\n", ""),
        ("request_timeout_seconds: 10", "request_timeout_seconds: 2"),
    ):
        assert known in settings, f"kontor.yaml has no {known!r} any more"
        settings = settings.replace(known, changed)
    (project / "kontor.yaml").write_text(settings, encoding="utf-8")
    async with DiscordServer() as chat, TelegramServer() as bot, pulse() as beating:
        with put_away(RunningDesk.planned(folder / "home", project=project)) as desk:
            output = await asyncio.to_thread(desk.up)
            assert output.returncode == 0, output.stdout + output.stderr
            script = folder / "make_channels.py"
            script.write_text(MAKE_CHANNELS)
            arguments = (chat.url, telegram.TOKEN, telegram.CHAT, bot.address, beating.url)
            made = await asyncio.to_thread(desk.shell, f"python {script} {' '.join(arguments)}")
            assert made.returncode == 0, made.stderr
            assert made.stdout.count("made") == AUTOMATIONS
            yield Scene(desk, chat, bot, beating)


async def test_each_trouble_of_a_desk_is_told_and_each_automation_fires_once(tmp_path: Path) -> None:
    """Made on purpose, one after the other, on a real server; nothing is told that did not happen."""
    async with a_desk(tmp_path) as scene:
        await channels_are_known(scene)
        await scene.until(lambda: bool(scene.pulse.beats), 90, "the heartbeat of a desk that is well")
        await streams_go_and_come_back(scene)
        await an_order_is_rejected(scene)
        await an_outcome_is_unknown(scene)
        await the_breaker_opens(scene)
        await the_executor_is_missed_and_its_worker_offline(scene)
        await nothing_is_told_of_a_restart(scene)
        no_file_of_the_desk_has_a_secret(scene)
        assert len(scene.bot.texts) > 0
        assert await asyncio.to_thread(lambda: scene.desk.down().returncode) == 0
        await scene.hears("Desk stopped", 15, times=2)


async def channels_are_known(scene: Scene) -> None:
    """The chats were made when the desk was up, and are looked for once a minute: what is told before has no reader."""
    began = time.monotonic()
    while scene.told("Filled: buy 0.01") == 0:
        assert time.monotonic() - began < 150, scene.chat.titles
        await scene.run("place-order/paper", symbol=SWAP, side="buy", quantity=0.01, order_type="market")
        await asyncio.sleep(5)


async def streams_go_and_come_back(scene: Scene) -> None:
    """The venue's WebSocket refuses; REST goes on."""
    refused = {"kind": "http_503", "path": "/ws/*", "probability": 1.0}
    async with scene.faults(refused, {"kind": "ws_drop", "path": "/ws/*", "times": 10}):
        await scene.hears("Stream degraded: okx stream-market")
        await scene.hears("Stream degraded: okx stream-account")
        # Of both the first, as of any breaker: once a day is enough for what the desk tells itself.
        await scene.hears("Stream degraded", 30, prefect=True)
    await scene.hears("Stream recovered: okx stream-market", 30)
    await scene.hears("Stream recovered: okx stream-account", 30)


async def an_order_is_rejected(scene: Scene) -> None:
    """Twice: the desk tells each, Prefect's automation the first."""
    for times in (1, 2):
        run = await scene.run("place-order/paper", symbol=SWAP, side="buy", quantity=900, order_type="market")
        assert "REJECTED" in run["state"]["message"], run["state"]["message"]
        await scene.hears("Rejected: buy 900", times=times)
        await scene.hears("Rejected: buy 900", prefect=True)


async def an_outcome_is_unknown(scene: Scene) -> None:
    """The venue takes the order, the answer is lost, and nobody can look it up."""
    lost = {"kind": "drop_after", "path": "/api/v5/trade/*order*", "method": "POST", "times": 1}
    blind = {"kind": "http_500", "path": "/api/v5/trade/order*", "method": "GET", "probability": 1.0}
    mute = {"kind": "ws_silence", "path": "/ws/v5/private", "seconds": 20, "times": 1}
    async with scene.faults(lost, blind, mute):
        order = {"symbol": SWAP, "side": "buy", "quantity": 0.1, "order_type": "market", "wait_seconds": 1}
        await scene.run("place-order/paper", **order)
        await scene.hears("Outcome unknown: buy 0.1", 60)
        await scene.hears("Outcome unknown: buy 0.1", 60, prefect=True)
    await scene.hears("Filled: buy 0.1", 90)


async def the_breaker_opens(scene: Scene) -> None:
    """All of REST fails for a while."""
    async with scene.faults({"kind": "http_502", "path": "/api/*", "probability": 1.0}):
        await scene.until(lambda: scene.told("Circuit breaker open") > 0, 90, "a breaker that opens")
    await scene.until(lambda: scene.told("Circuit breaker closed") > 0, 120, "a breaker that closes")
    # The stream's breaker was today's.
    assert scene.by_prefect("Circuit breaker open") == 0


async def the_executor_is_missed_and_its_worker_offline(scene: Scene) -> None:
    """A person cancels the executor, and the worker of the orders stops where it is."""
    desk = scene.desk
    (run,) = [each for each in desk.runs("execute-orders/paper") if each["state_type"] == "RUNNING"]
    canceled = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
    await asyncio.to_thread(desk.api, "POST", f"/flow_runs/{run['id']}/set_state", canceled)
    await asyncio.to_thread(desk.wait_for_run, run["id"])
    missing_since = time.monotonic()
    await scene.hears("execute-orders was canceled", 30)
    worker = desk.pid("worker orders")
    os.kill(worker, signal.SIGSTOP)
    try:
        await scene.hears("The executor is not running", 120, prefect=True)
        took = time.monotonic() - missing_since
        assert 50 <= took <= 100, f"the executor was missed after {took:.0f} s"
        await scene.run("check-system-status/paper")
        assert scene.told("execute-orders is down") + scene.told("2 updaters are down") + _many_down(scene) >= 1
        await scene.hears("A worker is offline", 240, prefect=True)
        await scene.until(lambda: any(_is_late(each) for each in scene.chat.embeds), 60, "a late run")
    finally:
        # After five minutes its desk has replaced it.
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
    assert sum(_is_late(each) for each in scene.chat.embeds) == 1, scene.chat.titles
    assert scene.pulse.beats[-1] < missing_since + 45, "the heartbeat of a desk without an executor"
    await asyncio.to_thread(desk.start, "execute-orders/paper")
    beats = len(scene.pulse.beats)
    await scene.until(lambda: len(scene.pulse.beats) > beats, 180, "the heartbeat to come back")
    await scene.run("check-system-status/paper")
    await scene.until(lambda: any("up again" in each for each in scene.chat.titles), 30, "up again")


async def nothing_is_told_of_a_restart(scene: Scene) -> None:
    """An automation that cries at each restart is soon switched off by hand."""
    before = [shown["title"] for shown in scene.chat.embeds if not _is_ours(shown)]
    started = scene.told("Desk started")
    assert await asyncio.to_thread(lambda: scene.desk.down().returncode) == 0
    await scene.hears("Desk stopped", 15)
    await asyncio.sleep(65)
    output = await asyncio.to_thread(scene.desk.up)
    assert output.returncode == 0, output.stdout + output.stderr
    await scene.hears("Desk started", times=started + 1)
    await asyncio.sleep(75)
    assert [shown["title"] for shown in scene.chat.embeds if not _is_ours(shown)] == before


def no_file_of_the_desk_has_a_secret(scene: Scene) -> None:
    """Databases, logs, records: nothing in the home holds what only the encrypted blocks may."""
    files = [path for path in scene.desk.home.path.rglob("*") if path.is_file()]
    found = [(secret, path) for path in files for secret in SECRETS if secret.encode() in path.read_bytes()]
    assert len(files) > 5
    assert found == []


def _is_late(shown: dict[str, Any]) -> bool:
    return not _is_ours(shown) and shown["title"].endswith("is late")


def _many_down(scene: Scene) -> int:
    return sum(each.endswith("updaters are down") for each in scene.chat.titles)
