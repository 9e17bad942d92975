"""The inactivity watchdog: a healthy stream may last for days, a silent one must not.

A deadline around a message loop kills good sockets; this one only counts the time since somebody was last heard.
"""

from kontor.ports import Clock


class Watchdog:
    """`heard()` whenever there is a sign of life; whoever looks after the stream asks `is_silent` now and then."""

    def __init__(self, limit: float, *, clock: Clock) -> None:
        if limit <= 0:
            raise ValueError(f"a limit of {limit} s leaves no time to say anything")
        self._limit, self._clock = limit, clock
        self._heard_at = clock.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock.monotonic() - self._heard_at

    @property
    def is_silent(self) -> bool:
        """Nothing was heard for longer than a live stream may be quiet."""
        return self.silence > self._limit

    def heard(self) -> None:
        """Note a sign of life; costs no more than a look at the clock."""
        self._heard_at = self._clock.monotonic()
