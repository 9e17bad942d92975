"""Alerts to people: Discord and Telegram behind one bounded background sender. Trading never waits for it."""

from kontor.notify.delivery import Channel, NotDelivered, Patience, deliver
from kontor.notify.discord import Discord
from kontor.notify.lane import Outlet
from kontor.notify.redaction import redact, remember_secret
from kontor.notify.sender import BackgroundSender
from kontor.notify.shared import StoredPacing
from kontor.notify.telegram import Telegram
from kontor.notify.trades import order_alert

__all__ = [
    "BackgroundSender",
    "Channel",
    "Discord",
    "NotDelivered",
    "Outlet",
    "Patience",
    "StoredPacing",
    "Telegram",
    "deliver",
    "order_alert",
    "redact",
    "remember_secret",
]
