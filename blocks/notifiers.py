"""The blocks of the channels and of the heartbeat: where alerts go, from Kontor and from Prefect's own automations."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

from prefect.blocks.abstract import NotificationBlock, NotificationError
from pydantic import Field, SecretStr, field_validator, model_validator

from blocks.base import KontorBlock, StrictFields, remember_secrets
from kontor.errors import ConfigError
from kontor.notify import Channel, Discord, NotDelivered, Telegram, deliver, redact
from kontor.notify.apprise_channel import Apprise, instantiate
from kontor.notify.heartbeat import check_url
from kontor.notify.telegram import API, check_bot
from kontor.ports import Alert

_SEVERITY = re.compile(r"(\[(?P<severity>info|warning|critical)\] *)?(?P<title>.*)", re.DOTALL)


class ChannelBlock(StrictFields, NotificationBlock, ABC):
    """Base of the notification blocks: anything Prefect may call `notify` on."""

    def block_initialization(self) -> None:
        """Make the block's secrets known to the redaction."""
        remember_secrets(self)

    @abstractmethod
    def to_channel(self) -> Channel:
        """The channel this block describes."""

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Deliver one message now; raises NotificationError when asked to, else a failure is only logged.

        A subject that begins with [warning] or [critical] is shown as one.
        """
        found = _SEVERITY.fullmatch(subject or "Prefect")
        severity, title = (found["severity"] or "info", found["title"]) if found else ("info", "Prefect")
        alert = Alert(title=title, text=body, severity=severity, at=datetime.now(UTC))
        try:
            await deliver(self.to_channel(), alert)
        except NotDelivered as error:
            self.logger.warning("notification not delivered: %s", redact(str(error)))
            if self._raise_on_failure:
                raise NotificationError(redact(str(error))) from None


class DiscordWebhook(ChannelBlock):
    """A Discord channel."""

    _block_type_name: ClassVar[str | None] = "Kontor Discord Webhook"
    _block_type_slug: ClassVar[str | None] = "kontor-discord-webhook"
    _description: ClassVar[str | None] = (
        "Alerts to a Discord channel. Name the block default, and Kontor's own go there."
    )

    url: SecretStr = Field(
        title="Webhook URL",
        description="In Discord: channel settings, Integrations, Webhooks, Copy URL.",
    )
    username: str = Field(
        default="Kontor", title="Name", description="Who the messages come from.", min_length=1, max_length=80
    )

    @field_validator("url")
    @classmethod
    def _webhook(cls, value: SecretStr) -> SecretStr:
        try:
            Discord(value.get_secret_value())
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    def to_channel(self) -> Discord:
        """The Discord channel."""
        return Discord(self.url.get_secret_value(), self.username)


class TelegramBot(ChannelBlock):
    """A Telegram chat."""

    _block_type_name: ClassVar[str | None] = "Kontor Telegram Bot"
    _block_type_slug: ClassVar[str | None] = "kontor-telegram-bot"
    _description: ClassVar[str | None] = "Alerts to a Telegram chat. Name the block default, and Kontor's own go there."

    token: SecretStr = Field(title="Bot token", description="What BotFather gave you, such as 123456789:ABC...")
    chat_id: str = Field(
        title="Chat", description="The chat's number, such as -1001234567890, or a public channel's @name."
    )
    # Not `int | None`: Prefect's form would ask for the type first.
    thread_id: int = Field(
        default=0, title="Topic", description="The number of a topic in a forum group; 0 otherwise.", ge=0
    )
    api_url: str = Field(default=API, title="Bot API", description="Only for a Bot API server of your own.")

    @field_validator("thread_id", mode="before")
    @classmethod
    def _no_topic(cls, value: object) -> object:
        """An emptied field of the form, and a block made before 0 stood for none, hold null."""
        return 0 if value is None else value

    @model_validator(mode="after")
    def _bot_and_chat(self) -> "TelegramBot":
        try:
            check_bot(self.token.get_secret_value(), self.chat_id, self.api_url)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def to_channel(self) -> Telegram:
        """The Telegram chat."""
        return Telegram(self.token.get_secret_value(), self.chat_id, self.thread_id or None, self.api_url)


class AppriseUrl(ChannelBlock):
    """Any service that Apprise knows."""

    _block_type_name: ClassVar[str | None] = "Kontor Apprise URL"
    _block_type_slug: ClassVar[str | None] = "kontor-apprise-url"
    _description: ClassVar[str | None] = (
        "Alerts by any service of Apprise: Slack, Matrix, ntfy. Name the block default, and Kontor's own go there."
    )

    url: SecretStr = Field(
        title="Apprise URL", description="As Apprise's documentation gives it, such as ntfys://topic."
    )

    @field_validator("url")
    @classmethod
    def _known_service(cls, value: SecretStr) -> SecretStr:
        try:
            instantiate(value.get_secret_value())
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    def to_channel(self) -> Apprise:
        """The service."""
        return Apprise(self.url.get_secret_value())


class HeartbeatUrl(KontorBlock):
    """Where the desk says once a minute that all is well."""

    _block_type_name: ClassVar[str | None] = "Kontor Heartbeat"
    _block_type_slug: ClassVar[str | None] = "kontor-heartbeat"
    _description: ClassVar[str | None] = (
        "An address that is asked once a minute while all is well, as healthchecks.io gives it. Name the block default."
    )

    url: SecretStr = Field(title="Address", description="Asked by GET; the service should alarm after three minutes.")

    @field_validator("url")
    @classmethod
    def _can_be_asked(cls, value: SecretStr) -> SecretStr:
        try:
            check_url(value.get_secret_value())
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


# Every kind of channel by the name that kontor.yaml has for it.
CHANNELS: Mapping[str, type[ChannelBlock]] = {
    "discord": DiscordWebhook,
    "telegram": TelegramBot,
    "apprise": AppriseUrl,
}
