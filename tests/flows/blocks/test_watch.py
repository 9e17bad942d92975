"""watch-desk on a real store and real blocks: alerts, the heartbeat, one watch at a time; and commands by Telegram."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prefect.client.orchestration import get_client

from blocks.exchange_account import ExchangeAccount
from blocks.notifiers import HeartbeatUrl, TelegramBot
from blocks.state_store import StateStore
from flows.telegram import answer_telegram
from kontor.domain.order import OrderState
from kontor.errors import ConfigError
from kontor.execution.halt import halt, halted
from kontor.ports import Store
from tasks import watch as watching
from tasks.commands import Operator
from tasks.notifications import close_sender
from tasks.resources import Resources
from tasks.watch import open_watch
from tests.flows.blocks.conftest import delete_block
from tests.support import telegram as telegram_support
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ACCOUNT = "watched"
CONFIG = """
alerts:
  channels: {{discord: {{grouping: {{burst: 1000}}}}}}
  telegram_commands: {{enabled: {enabled}, users: [7]}}
"""


@pytest.fixture
async def store(prefect_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store and an account block; the venue of the account is never asked."""
    monkeypatch.setenv("KONTOR_KEEP_SESSIONS_OPEN", "1")
    config = tmp_path / "kontor.yaml"
    config.write_text(CONFIG.format(enabled="true"))
    monkeypatch.setenv("KONTOR_CONFIG", str(config))
    await StateStore.model_validate({"url": f"sqlite:///{tmp_path}/store.db"}).asave("default", overwrite=True)
    account = {"exchange_id": "okx", "urls": {"rest": "http://127.0.0.1:1", "ws": "ws://127.0.0.1:1"}}
    await ExchangeAccount.model_validate(account).asave(ACCOUNT, overwrite=True)
    yield await Resources.here().store()
    await close_sender(seconds=1)
    await Resources.here().close()


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Something long-running, beside the test."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - a server of the test
            await asyncio.sleep(0.05)


async def test_what_happens_reaches_the_channel_and_a_second_watch_waits(discord: DiscordServer, store: Store) -> None:
    """Two watches would tell everything twice."""
    clock = Resources.here().clock
    async with open_watch(ACCOUNT) as first, open_watch(ACCOUNT) as second, running(first.keep()):
        await until(lambda: bool(first._due))
        async with running(second.keep()):
            await halt(store.desk, ACCOUNT, "a test", actor="somebody", at=clock.now())
            await until(lambda: "Trading halted" in discord.titles)
            await asyncio.sleep(1.5)
            assert second._due == {}
    assert discord.titles == ["Trading halted"]


async def test_the_heartbeat_is_sent_while_all_is_well_and_not_else(
    discord: DiscordServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its silence is the alarm: a desk that is not well must not say that it is."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(text="OK")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/ping/abcdef0123456789"
    await HeartbeatUrl.model_validate({"url": url}).asave("default", overwrite=True)
    intervals = {"update-balance": timedelta(seconds=30)}

    async def intervals_by_account() -> dict[str, dict[str, timedelta]]:
        return {ACCOUNT: intervals}

    monkeypatch.setattr(watching, "intervals_by_account", intervals_by_account)
    try:
        async with open_watch(ACCOUNT) as watch:
            await watch._say_well()
            assert asked == []  # the gate is closed
            now = watch.clock.now()
            await store.desk.set_attribute(ACCOUNT, "gate", {"open": True}, now)
            await watch._say_well()
            assert asked == []  # an updater never reported
            await store.desk.beat(ACCOUNT, "update-balance", now)
            assert await watch.problem() == ""
            await watch._say_well()
            assert asked == ["/ping/abcdef0123456789"]
            assert not watch._heartbeat.is_due(watch.clock.monotonic() + 59)
            assert watch._heartbeat.is_due(watch.clock.monotonic() + 61)
    finally:
        await runner.cleanup()
        await _delete_heartbeat()


async def _delete_heartbeat() -> None:
    async with get_client() as client:
        block = await client.read_block_document_by_name("default", "kontor-heartbeat")
        await client.delete_block_document(block.id)


@pytest.fixture
async def bot(telegram: TelegramServer) -> AsyncIterator[TelegramServer]:
    """A Telegram with the block `default`."""
    block = {"token": telegram_support.TOKEN, "chat_id": telegram_support.CHAT, "api_url": telegram.address}
    await TelegramBot.model_validate(block).asave("default", overwrite=True)
    yield telegram
    await delete_block(TelegramBot, "default")


async def test_commands_are_answered_confirmed_and_kept_from_strangers(
    bot: TelegramServer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The phone in the pocket: status, halt at once, resume only after a confirmation, strangers unheard."""
    async with asyncio.timeout(60), running(answer_telegram(account=ACCOUNT)):
        bot.type("/halt from a stranger", user=8)
        bot.type("/halt from another chat", chat=4711)
        bot.type("/halt from yesterday", age=86_400)
        assert "was sent 864" in await bot.said.get()
        bot.type("/halt the market is mad")
        assert (await bot.said.get()).startswith("halted: the market is mad")
        found = await halted(store.desk, ACCOUNT)
        assert found is not None
        assert (found.reason, found.actor) == ("the market is mad", "telegram user ada")
        bot.type("/resume")
        asked = await bot.said.get()
        assert asked.startswith("watched, on paper: end the halt and trade again? /confirm ")
        assert await halted(store.desk, ACCOUNT) is not None
        bot.type("/confirm 12")
        assert "nothing to confirm" in await bot.said.get()
        bot.type("/resume")
        code = re.search(r"/confirm (\d+)", await bot.said.get())
        assert code is not None
        bot.type(f"/confirm {code[1]}")
        assert await bot.said.get() == "trading again; it had been halted: the market is mad"
        assert await halted(store.desk, ACCOUNT) is None
        for question, answer in (("/orders", "no open orders"), ("/balance", "the balance is not known yet")):
            bot.type(question)
            assert await bot.said.get() == answer
        bot.type("/nonsense")
        assert "/help lists them" in await bot.said.get()
        bot.type("good morning")
        bot.type("/help")
        assert "/place buy" in await bot.said.get()
    assert caplog.text.count("telegram message ignored") == 2
    assert telegram_support.TOKEN not in caplog.text
    assert await store.orders.counts(ACCOUNT) == {}


async def test_a_command_is_heard_once_over_restarts(bot: TelegramServer, store: Store) -> None:
    """Telegram repeats what was not confirmed to it; what was done must not be done again."""
    async with asyncio.timeout(30):
        async with running(answer_telegram(account=ACCOUNT)):
            bot.type("/halt once")
            await bot.said.get()
        async with running(answer_telegram(account=ACCOUNT)):
            bot.type("/help")
            # The end of the first run is an alert in the same chat.
            while "/status" not in await bot.said.get():
                pass
    assert [text for text in bot.texts if text.startswith("halted:")] == [bot.texts[0]]
    assert OrderState.FILLED not in await store.orders.counts(ACCOUNT)


async def test_commands_are_off_until_they_are_switched_on(bot: TelegramServer, store: Store, tmp_path: Path) -> None:
    """Who makes a block for alerts has not asked for orders by chat."""
    (tmp_path / "kontor.yaml").write_text(CONFIG.format(enabled="false"))
    with pytest.raises(ConfigError, match=r"alerts\.telegram_commands: commands are off"):
        await Operator.of(ACCOUNT)
