"""The inactivity watchdog: a healthy stream may last for days, a silent one must not.

A deadline around a message loop kills good sockets; this one only counts the time since somebody was last heard.
"""

from kontor.errors import KontorError
from kontor.ports import Clock


class FellSilent(KontorError):
    """Nothing was heard for longer than a live connection may be quiet."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        super().__init__(f"{name}: nothing heard for {seconds:.1f} s")


class Watchdog:
    """`heard()` whenever there is a sign of life; `watch()` returns never, and raises FellSilent without one."""

    def __init__(self, name: str, limit: float, *, clock: Clock) -> None:
        if limit <= 0:
            raise ValueError(f"{name}: a limit of {limit} s leaves no time to say anything")
        self._name, self.limit, self._clock = name, limit, clock
        self._heard_at = clock.monotonic()

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life."""
        return self._clock.monotonic() - self._heard_at

    def heard(self) -> None:
        """Note a sign of life; costs no more than a look at the clock."""
        self._heard_at = self._clock.monotonic()

    async def watch(self) -> None:
        """Sleep until the silence has lasted too long."""
        self.heard()
        while (left := self.limit - self.silence) > 0:
            await self._clock.sleep(left)
        raise FellSilent(self._name, self.silence)
