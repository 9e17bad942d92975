"""Each channel with the test server it talks to, so that one suite holds for both."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import pytest

from kontor.notify import Discord, Patience, Telegram
from kontor.notify.delivery import Courier
from kontor.notify.queued import Queued
from kontor.notify.telegram import telegram_courier
from kontor.ports import Alert
from tests.support import discord, telegram
from tests.support.chat_server import ChatServer, FakeTime

QUICK = Patience(request_seconds=5)


def an_alert(title: str = "Title", text: str = "Text.", **changes: object) -> Alert:
    """A plain alert; give what matters."""
    facts = {"severity": "info", "at": datetime(2026, 1, 1, tzinfo=UTC), **changes}
    return Alert(title=title, text=text, **facts)  # pyright: ignore[reportArgumentType]


@dataclass
class Rig:
    """A channel, its server, one clock for both, and what must never be seen in a log."""

    server: ChatServer
    channel: Discord | Telegram
    secret: str
    time: FakeTime
    session: aiohttp.ClientSession = field(repr=False)

    @property
    def seen(self) -> str:
        """Everything a reader sees, in order."""
        if isinstance(self.server, discord.DiscordServer):
            shown = self.server.embeds
            return "\n".join(f"{embed['title']} {embed.get('description', '')} {embed['fields']}" for embed in shown)
        assert isinstance(self.server, telegram.TelegramServer)
        return "\n".join(self.server.texts)

    @property
    def messages(self) -> int:
        """How many messages the server accepted."""
        assert isinstance(self.server, discord.DiscordServer | telegram.TelegramServer)
        return len(self.server.messages)

    async def send(self, *alerts: Alert) -> None:
        """Deliver the alerts as one batch."""
        await self.channel.send(self.session, [Queued(alert) for alert in alerts])


@pytest.fixture(params=["discord", "telegram"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Discord, then Telegram."""
    async with aiohttp.ClientSession() as session:
        if request.param == "discord":
            async with discord.DiscordServer() as server:
                courier = Courier("discord", QUICK, server.time.sleep, server.time.monotonic)
                yield Rig(server, Discord(server.url, courier=courier), discord.TOKEN, server.time, session)
        else:
            async with telegram.TelegramServer() as server:
                clock = server.time
                courier = telegram_courier(patience=QUICK, sleep=clock.sleep, monotonic=clock.monotonic)
                channel = Telegram(telegram.TOKEN, telegram.CHAT, api_url=server.address, courier=courier)
                yield Rig(server, channel, telegram.TOKEN, server.time, session)
