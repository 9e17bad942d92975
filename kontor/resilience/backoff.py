"""How long to wait before trying again: exponential with full jitter, and what the other side asked for."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState
from tenacity.wait import wait_base, wait_exponential


class Backoff(wait_base):
    """A tenacity wait policy: between 0 and `initial` doubled each time, at most `maximum` seconds.

    An error with a `retry_after` (timedelta) is waited out in full, jitter on top, even beyond `maximum`: the caller's
    deadline decides whether there is time for that.
    """

    def __init__(self, initial: float = 0.2, maximum: float = 10.0, rng: random.Random | None = None) -> None:
        self._bound = wait_exponential(multiplier=initial, max=maximum)
        self._rng = rng or random.Random()

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait after this attempt."""
        jitter = self._rng.uniform(0, self._bound(retry_state))
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = getattr(error, "retry_after", None)
        return asked.total_seconds() + jitter if isinstance(asked, timedelta) else jitter


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for, in seconds or as an HTTP date; None when it says nothing usable."""
    if not value:
        return None
    try:
        return max(timedelta(seconds=float(value)), timedelta(0))
    except (ValueError, OverflowError):
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta(0))
