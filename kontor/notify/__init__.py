"""Alerts to people: Discord and Telegram behind one bounded background sender. Trading never waits for it."""

from kontor.notify.delivery import Channel, NotDelivered, Patience
from kontor.notify.discord import Discord
from kontor.notify.redaction import redact, remember_secret
from kontor.notify.sender import BackgroundSender
from kontor.notify.telegram import Telegram

__all__ = [
    "BackgroundSender",
    "Channel",
    "Discord",
    "NotDelivered",
    "Patience",
    "Telegram",
    "redact",
    "remember_secret",
]
