"""The section `alerts` of kontor.yaml: who is told what, and when it is quiet."""

from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, field_validator

from kontor.config.base import Settings

Severity = Literal["info", "warning", "critical"]
Pattern = Annotated[str, Field(pattern=r"^[a-z*][a-z_.*]*$")]


def _from_yaml(value: Any) -> Any:
    """YAML 1.1 reads an unquoted 23:00 as the number 1380: minutes, where pydantic would take seconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < 24 * 60:
            raise ValueError("must be a time of the day, such as '23:00'")
        return time(value // 60, value % 60)
    return value


def _naive(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("must be a wall-clock time, such as '23:00'; its zone goes into 'timezone'")
    return value


WallClock = Annotated[time, BeforeValidator(_from_yaml), AfterValidator(_naive)]


class LocalTime(Settings):
    """A time zone by its IANA name; daylight saving time is that zone's."""

    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):
            raise ValueError(f"{value!r} is not a time zone; write an IANA name, such as Europe/Berlin") from None
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The zone itself."""
        return ZoneInfo(self.timezone)


class QuietHours(LocalTime):
    """From `start` to `end`, over midnight too, all but critical alerts wait; one digest of them comes at the end."""

    start: WallClock
    end: WallClock


class Grouping(Settings):
    """When many alerts become one digest; trades, reports and critical alerts are never held back by `burst`."""

    # So many go out one by one, before the rest waits for a digest.
    burst: Annotated[int, Field(ge=1, le=1000)] = 5
    # Seconds until the first digest; those that follow come ever more seldom, at last every six hours.
    first_digest_seconds: Annotated[int, Field(ge=1, le=6 * 3600)] = 300


class ChannelRules(Settings):
    """What one channel is told."""

    enabled: bool = True
    # This severity and what is worse.
    severity: Severity = "info"
    # Patterns of event names: order.*, flow.failed, *. Critical alerts pass all but `severity` and `without`.
    events: tuple[Pattern, ...] = ("*",)
    without: tuple[Pattern, ...] = ()
    quiet_hours: QuietHours | None = None
    grouping: Grouping = Grouping()


class DailySummary(LocalTime):
    """The summary of the last 24 hours: when it comes."""

    enabled: bool = True
    at: WallClock = time(0, 5)


class TelegramCommands(Settings):
    """Commands by Telegram: off unless switched on, and only from these chats and, if any are named, these users."""

    enabled: bool = False
    chats: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    confirm_within_seconds: Annotated[int, Field(ge=5, le=600)] = 60


class AlertSettings(Settings):
    """Who is told what; a channel that is not named here is told everything."""

    channels: dict[Literal["discord", "telegram", "apprise"], ChannelRules] = Field(default_factory=dict)
    # For every channel that has none of its own.
    quiet_hours: QuietHours | None = None
    daily_summary: DailySummary = DailySummary()
    # An order whose outcome nobody knows is told after this time.
    unknown_after_seconds: PositiveInt = 30
    telegram_commands: TelegramCommands = TelegramCommands()

    def rules(self, channel: str) -> ChannelRules:
        """The rules of one channel, with the quiet hours of all where it has none of its own."""
        found = next((rules for name, rules in self.channels.items() if name == channel), ChannelRules())
        if found.quiet_hours is None and self.quiet_hours is not None:
            found = found.model_copy(update={"quiet_hours": self.quiet_hours})
        return found
