"""Ever longer pauses between messages about the same trouble."""

from dataclasses import dataclass

LONGEST = 6 * 3600.0
# After so long without a word the next one is news again.
FORGET = 6 * 3600.0
_GROWTH = 5.0


@dataclass(slots=True)
class Pacing:
    """When the next message may go out, given those before: `free` at once, then after growing pauses.

    The pauses are `first`, five times that, and so on, up to six hours. They start afresh only when nothing has
    happened for six hours: what comes back once an hour, all day, is held back as well.
    """

    first: float
    free: int = 1
    sent: int = 0
    next_at: float = 0.0
    seen_at: float = float("-inf")

    def sees(self, now: float) -> None:
        """Something happened, whether or not it is told."""
        if now - self.seen_at > FORGET:
            self.sent, self.next_at = 0, now
        self.seen_at = now

    def may_send(self, now: float) -> bool:
        """Whether a message may go out now."""
        return now >= self.next_at

    def sends(self, now: float) -> None:
        """A message goes out."""
        self.sent += 1
        paid = self.sent - self.free
        self.next_at = now if paid < 0 else now + min(self.first * _GROWTH**paid, LONGEST)
