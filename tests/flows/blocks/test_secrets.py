"""The secrets scan: a desk with everything configured, everything failing, and not one secret outside the blocks."""

import asyncio
import logging
import sqlite3
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import prefect
import pytest
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from pydantic import SecretStr

from blocks.exchange_account import ExchangeAccount
from blocks.notifiers import AppriseUrl, DiscordWebhook, HeartbeatUrl, TelegramBot
from blocks.state_store import StateStore
from flows.account import update_balance
from flows.operate import initialize
from flows.trade import place_order
from kontor.desk import open_gate
from kontor.domain.health import UpdaterHealth
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.ports import Alert
from tasks.notifications import close_sender, process_sender
from tasks.resources import Resources
from tasks.status import show_updaters
from tasks.watch import open_watch
from tests.support import discord, telegram
from tests.support.discord import DiscordServer
from tests.support.telegram import TelegramServer

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.timeout(180),
]

SECRETS = {
    "api key": "a1b2c3d4-KEY-scan-9f8e7d",
    "api secret": "S3CR3T-scan-0123456789ABCDEF",
    "passphrase": "Pass-scan-phrase-77",
    "discord token": discord.TOKEN,
    "telegram token": telegram.TOKEN,
    "apprise token": "apprise-token-scan-42",
    "heartbeat path": "heartbeat-uuid-scan-4711",
}
SYMBOL, CARELESS = "BTC/USD:USD", "somebody was careless"
# Encrypted by Prefect, and the place where secrets belong.
ENCRYPTED = {"block_document"}


@dataclass
class Scanned:
    """A desk whose every connection has a secret, and where its store is."""

    account: str
    store: Path
    paper: PaperServer
    discord: DiscordServer
    telegram: TelegramServer


@pytest.fixture
async def scanned(
    prefect_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> AsyncIterator[Scanned]:
    """The exchange refuses its key, every channel its token; Apprise and the heartbeat lead to a closed port."""
    monkeypatch.setenv("KONTOR_KEEP_SESSIONS_OPEN", "1")
    config = tmp_path / "kontor.yaml"
    config.write_text("watchlist: {max_symbols: 2}\ncandles: {keep: 20}\n")
    monkeypatch.setenv("KONTOR_CONFIG", str(config))
    nowhere = f"127.0.0.1:{unused_tcp_port}"
    settings = PaperSettings(persist=False, port=0, markets=8)
    async with PaperServer(settings) as paper, DiscordServer() as chat, TelegramServer() as bot:
        chat.always = chat.fails(401, {"message": "Invalid Webhook Token", "code": 50027})
        bot.always = bot.fails(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
        urls = {"rest": paper.url, "ws": paper.ws_url}
        account = ExchangeAccount.model_validate(
            {
                "exchange_id": "okx",
                "api_key": SECRETS["api key"],
                "secret": SECRETS["api secret"],
                "password": SECRETS["passphrase"],
                "urls": urls,
            }
        )
        blocks: dict[str, Any] = {
            "secrets-scan": account,
            "default": None,
        }
        await blocks["secrets-scan"].asave("secrets-scan", overwrite=True)
        store = tmp_path / "store.db"
        defaults: list[Any] = [
            StateStore.model_validate({"url": f"sqlite:///{store}"}),
            DiscordWebhook(url=SecretStr(chat.url)),
            TelegramBot(token=SecretStr(telegram.TOKEN), chat_id=telegram.CHAT, api_url=bot.address),
            AppriseUrl(url=SecretStr(f"json://user:{SECRETS['apprise token']}@{nowhere}/hook")),
            HeartbeatUrl(url=SecretStr(f"http://{nowhere}/{SECRETS['heartbeat path']}")),
        ]
        for block in defaults:
            await block.asave("default", overwrite=True)
        yield Scanned("secrets-scan", store, paper, chat, bot)
        await Resources.here().close()
        async with get_client() as client:
            for block in defaults[1:]:
                document = await client.read_block_document_by_name("default", block.get_block_type_slug())
                await client.delete_block_document(document.id)


def tables(path: Path) -> Iterable[tuple[str, str]]:
    """(table, all its rows as text) of an SQLite file."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            yield name, "\n".join(map(repr, database.execute(f'SELECT * FROM "{name}"')))  # noqa: S608 - its own names
    database.close()


async def test_no_secret_is_anywhere_but_in_its_block(
    scanned: Scanned, prefect_database: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, events, artifacts, parameters, exception texts, our database and Prefect's; each of them looked into."""
    for flow in (initialize, update_balance):
        monkeypatch.setattr(flow, "retry_delay_seconds", 0)
    shown: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for flow, parameters in (
            (initialize, {}),
            (update_balance, {}),
            (place_order, {"symbol": SYMBOL, "side": "buy", "quantity": "0.1", "order_type": "market"}),
        ):
            if flow is update_balance:
                # A closed gate would keep it from asking the exchange.
                await open_gate((await Resources.here().store()).desk, scanned.account, datetime.now(UTC))
            state = await flow(account=scanned.account, return_state=True, **parameters)
            shown += [repr(state), str(state.message)]
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, its text is what is looked at
                await state.aresult()
            shown.append("".join(traceback.format_exception(caught.value)))
        # Somebody is careless: a secret in the text of an alert of our own, and in an artifact's rows.
        careless = f"{CARELESS}: the key {SECRETS['api key']} and {scanned.discord.url}"
        process_sender().notify(
            Alert("careless", careless, "critical", Resources.here().clock.now(), scanned.account, event="drift")
        )
        down = UpdaterHealth("update-balance", timedelta(30), None, None, ok=False, reason="never reported")

        @prefect.flow(name="shows-updaters", validate_parameters=False)
        async def show(health: Any) -> None:
            await show_updaters(scanned.account, health)

        await show([down])
        async with open_watch(scanned.account) as watch:
            task = asyncio.create_task(watch.keep())
            await until(lambda: bool(watch._due) and scanned.discord.requests > 0 and scanned.telegram.requests > 0)
            monkeypatch.setattr(type(watch), "problem_of_desk", _well)
            await watch._say_well()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await close_sender(seconds=3)
        await asyncio.to_thread(EventsWorker.instance().wait_until_empty)
    assert any("401" in each or "API" in each or "key" in each.lower() for each in shown), shown
    assert "Unauthorized" in caplog.text
    assert "heartbeat not delivered" in caplog.text
    # The server writes some of it in the background: a place that is still empty would prove nothing.
    marks = {"log": initialize.name, "events": CARELESS, "artifact": "never reported", "flow_run": SYMBOL}
    await until(
        lambda: all(mark in rows[table] for rows in [dict(tables(prefect_database))] for table, mark in marks.items())
    )
    places = {"log": caplog.text, "states and exceptions": "\n".join(shown)}
    places |= {f"prefect.{name}": text for name, text in tables(prefect_database) if name not in ENCRYPTED}
    places |= {f"kontor.{name}": text for name, text in tables(scanned.store)}
    found = [(secret, place) for secret, value in SECRETS.items() for place, text in places.items() if value in text]
    # Also what was deleted, and what is not yet moved from the write-ahead log.
    for file in scanned.store.parent.glob(f"{scanned.store.name}*"):
        found += [(secret, file.name) for secret, value in SECRETS.items() if value.encode() in file.read_bytes()]
    assert found == []


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.2)


async def _well(_: object) -> str:
    return ""
