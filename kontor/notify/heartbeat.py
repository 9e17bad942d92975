"""The outbound heartbeat: an address that is asked while all is well; its silence is the alarm of a dead machine."""

import logging
import math
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from kontor.errors import ConfigError
from kontor.notify.redaction import redact, remember_if_secret, remember_secret

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
_ANSWER_SECONDS = 10.0


@dataclass
class Heartbeat:
    """Asks one address at most once a minute; what goes wrong is logged once, until it works again."""

    _next_at: float = field(default=-math.inf, init=False)
    _is_failing: bool = field(default=False, init=False)

    def is_due(self, now: float) -> bool:
        """Whether a minute has passed, by a monotonic clock."""
        return now >= self._next_at

    def skip(self, now: float) -> None:
        """Say nothing this minute."""
        self._next_at = now + INTERVAL_SECONDS

    async def beat(self, url: str, now: float) -> bool:
        """Ask the address now; whether it answered well. Never raises."""
        self._next_at = now + INTERVAL_SECONDS
        problem = await self._ask(url)
        if problem and not self._is_failing:
            logger.warning("heartbeat not delivered: %s", problem)
        elif not problem and self._is_failing:
            logger.info("heartbeat delivered again")
        self._is_failing = bool(problem)
        return not problem

    async def _ask(self, url: str) -> str:
        try:
            timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
                return "" if answer.ok else f"HTTP {answer.status}"
        except TimeoutError:
            return f"no answer within {_ANSWER_SECONDS:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {redact(str(error))}"


def check_url(url: str) -> None:
    """Raises ConfigError, without quoting it, when this cannot be asked."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError("the heartbeat's address must start with https:// and name a host")
    remember_secret(url.strip())
    for piece in parts.path.split("/"):
        remember_if_secret(piece)
