"""A Discord channel, through its webhook."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp

from kontor.errors import ConfigError
from kontor.notify.delivery import Courier, ForPeople
from kontor.notify.formatting import EMBEDS, EMBEDS_TOTAL, embed, embed_length
from kontor.notify.queued import Queued
from kontor.notify.redaction import remember_secret

_PATH = re.compile(r"(?P<prefix>.*)/api(/v\d+)?/webhooks/(?P<id>\d+)/(?P<token>[\w-]+)/?")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(slots=True)
class Discord(ForPeople):
    """Sends up to ten embeds a message; two are equal when they lead to the same place under the same name."""

    url: str = field(repr=False)
    username: str = "Kontor"
    courier: Courier = field(default_factory=lambda: Courier("discord"), compare=False, repr=False)

    def __post_init__(self) -> None:
        self.url = webhook_url(self.url)

    def fit(self, waiting: list[Queued]) -> int:
        """At most ten embeds, and 6000 characters in all of them together."""
        total = 0
        for count, queued in enumerate(waiting[:EMBEDS]):
            total += embed_length(embed(queued))
            if total > EMBEDS_TOTAL and count:
                return count
        return min(len(waiting), EMBEDS)

    async def send(self, session: aiohttp.ClientSession, batch: list[Queued]) -> None:
        """Deliver the alerts as one message; raises NotDelivered when that is given up."""
        payload = {
            "username": self.username,
            "embeds": [embed(queued) for queued in batch],
            # An alert's text comes from anywhere: it must not be able to call everyone.
            "allowed_mentions": {"parse": []},
        }
        await self.courier.post(session, self.url, payload)


def webhook_url(url: str) -> str:
    """The address to post to; raises ConfigError, without quoting it, when it is no Discord webhook.

    Version 10 is named because older ones give `retry_after` in milliseconds; `wait` makes Discord answer only when the
    message is stored, so that a refusal is seen.
    """
    parts = urlsplit(url.strip())
    match = _PATH.fullmatch(parts.path)
    if match is None or not parts.hostname:
        raise ConfigError("the webhook URL must look like https://discord.com/api/webhooks/<id>/<token>")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ConfigError("the webhook URL must start with https://")
    remember_secret(url)
    remember_secret(match["token"])
    path = f"{match['prefix']}/api/v10/webhooks/{match['id']}/{match['token']}"
    query = urlencode({**dict(parse_qsl(parts.query)), "wait": "true"})
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
