"""Ever longer pauses between messages about the same trouble."""

from dataclasses import dataclass
from typing import Any, Self

LONGEST = 6 * 3600.0
# After so long without a word the next one is news again.
FORGET = 6 * 3600.0
DAY = 24 * 3600.0
_GROWTH = 5.0


@dataclass(slots=True)
class Pacing:
    """When the next message may go out, given those before: `free` at once, then after growing pauses.

    The pauses are `first`, five times that, and so on, up to six hours. They start afresh only when nothing has
    happened for six hours: what comes back once an hour, all day, is held back as well. Moments are seconds since the
    epoch, so that every process, and the next one after a restart, means the same by them.
    """

    first: float
    free: int = 1
    sent: int = 0
    next_at: float = 0.0
    seen_at: float = 0.0

    def sees(self, now: float) -> None:
        """Something happened, whether or not it is told."""
        if now - self.seen_at > FORGET:
            self.sent, self.next_at = 0, now
        self.seen_at = now

    def may_send(self, now: float) -> bool:
        """Whether a message may go out now; a pause longer than any of ours means that the clock was set back."""
        return now >= self.next_at or self.next_at - now > LONGEST

    def sends(self, now: float) -> None:
        """A message goes out."""
        self.sent += 1
        paid = self.sent - self.free
        self.next_at = now if paid < 0 else now + min(self.first * _GROWTH**paid, LONGEST)

    def dump(self) -> list[float]:
        """As the store keeps it."""
        return [self.sent, self.next_at, self.seen_at]

    def load(self, kept: list[float]) -> None:
        """Go on from what was kept."""
        self.sent, self.next_at, self.seen_at = int(kept[0]), kept[1], kept[2]

    def join(self, kept: list[float]) -> None:
        """Take the longer pause of the two: both were sending without knowing of each other."""
        self.sent = max(self.sent, int(kept[0]))
        self.next_at, self.seen_at = max(self.next_at, kept[1]), max(self.seen_at, kept[2])


@dataclass(slots=True)
class Count:
    """How many messages went out within the last 24 hours."""

    moments: list[float]

    @classmethod
    def none(cls) -> Self:
        """Nothing yet."""
        return cls([])

    def within_a_day(self, now: float) -> int:
        """How many; a clock that was set back does not make them count for longer."""
        self.moments = [moment for moment in self.moments if now - DAY < moment <= now]
        return len(self.moments)

    def add(self, now: float) -> None:
        """One more."""
        self.moments.append(now)

    def join(self, others: list[Any]) -> None:
        """Those of another process too."""
        self.moments = sorted({*self.moments, *map(float, others)})
