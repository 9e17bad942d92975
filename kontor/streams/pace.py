"""How often something may be done again that is done after every gap: at once after a quiet time, then ever later."""

from kontor.ports import Clock

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.5
# Without a round for so long, the next one comes at once again.
QUIET_SECONDS = 30.0


class Pace:
    """Pauses between rounds that double while rounds follow one another, whether or not they lead to anything.

    A venue that fails, and a message that is unreadable every time it comes, must not be answered with requests four
    times a second.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._in_a_row = 0
        self._ended_at = float("-inf")

    @property
    def is_time(self) -> bool:
        """Whether the next round may begin."""
        return self._clock.monotonic() >= self._ended_at + self.pause

    @property
    def pause(self) -> float:
        """Seconds between the end of the last round and the next."""
        if self._in_a_row == 0:
            return 0.0
        return min(FIRST_PAUSE * 2.0 ** min(self._in_a_row - 1, 60), LONGEST_PAUSE)

    def began(self) -> None:
        """A round begins."""
        quiet = self._clock.monotonic() - self._ended_at
        self._in_a_row = 1 if quiet >= QUIET_SECONDS else self._in_a_row + 1

    def ended(self) -> None:
        """It is over."""
        self._ended_at = self._clock.monotonic()
