"""How long to wait before trying again: exponential with full jitter, and what the other side asked for."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tenacity import RetryCallState
from tenacity.wait import wait_base, wait_exponential

# Nobody is sent away for longer: bans of an address last for three days at most.
LONGEST = timedelta(days=7)
# Larger numbers are no seconds to wait but a moment, which some venues put there.
EPOCH_SECONDS, EPOCH_MILLISECONDS = 1e9, 1e11


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
    """What a Retry-After header asks for, in seconds or as a date; None when it says nothing usable.

    More than LONGEST is nothing usable: taken at its word, the desk would be silent for good.
    """
    asked = _asked(value, now) if value else None
    return None if asked is None or asked > LONGEST else max(asked, timedelta(0))


def _asked(value: str, now: datetime) -> timedelta | None:
    try:
        number = float(value)
    except ValueError:
        return _until(value, now)
    if number >= EPOCH_SECONDS:
        number = number / (1000 if number >= EPOCH_MILLISECONDS else 1) - now.timestamp()
    try:
        return timedelta(seconds=number)
    except (ValueError, OverflowError):
        return None


def _until(value: str, now: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - now
