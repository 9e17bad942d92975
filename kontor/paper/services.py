"""What every part of the server shares."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kontor.paper.auth import Gatekeeper
from kontor.paper.commits import Commits
from kontor.paper.faults import FaultPlan
from kontor.paper.feed import LiveFeed
from kontor.paper.rate_limits import RateLimits
from kontor.paper.replies import wrong
from kontor.paper.settings import PaperSettings
from kontor.paper.stats import Stats
from kontor.paper.venue import Venue

Clocks = tuple[int, int]


@dataclass(slots=True)
class Services:
    """The venue and what stands between it and its clients."""

    venue: Venue
    settings: PaperSettings
    # What fetches the past of live prices, if that is what they are.
    feed: LiveFeed | None = None
    gate: Gatekeeper = field(init=False)
    limits: RateLimits = field(init=False)
    commits: Commits = field(init=False)
    plan: FaultPlan = field(default_factory=FaultPlan)
    stats: Stats = field(default_factory=Stats)

    def __post_init__(self) -> None:
        self.gate = Gatekeeper(self.venue.account_by_key)
        self.limits = RateLimits(self.settings.rate_limit_factor)
        self.commits = Commits(self.venue.flush)

    @property
    def one_way_seconds(self) -> float:
        """Half the simulated round trip."""
        return self.settings.rtt_ms / 2000

    def clocks_ms(self, shift_ms: int = 0) -> Clocks:
        """The wall's time and the venue's, both shifted: they differ when the venue's clock runs fast."""
        return int(time.time() * 1000) + shift_ms, self.venue.now() + shift_ms


def is_expired(stamp: str, clocks_ms: Clocks) -> bool:
    """Whether a request's `expTime` has passed on every clock its sender may go by."""
    if not stamp:
        return False
    if not stamp.isdigit():
        raise wrong("expTime")
    return int(stamp) < min(clocks_ms)


def micros(seconds: float) -> str:
    """A moment in microseconds, as inTime and outTime are written."""
    return str(int(seconds * 1_000_000))
