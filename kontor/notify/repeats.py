"""Repeated alerts: the first goes out at once, what follows is counted and comes as a digest, ever more seldom."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from kontor.notify.queued import Queued, sameness
from kontor.ports import Alert

FIRST_WINDOW = 60.0
GROWTH = 4.0
LONGEST_WINDOW = 6 * 3600.0


@dataclass(slots=True)
class _Window:
    seconds: float
    ends_at: float
    held: int = 0
    last: Alert | None = None


class Repeats:
    """Decides which alerts go out now; moments are seconds of a monotonic clock, given by the caller.

    The window in which repeats are held grows fourfold with each digest, up to six hours, and starts afresh once an
    alert has stayed away for a whole window: a day of flapping, up and down, makes fewer than 20 messages.
    """

    def __init__(self, *, first_window: float = FIRST_WINDOW, capacity: int = 500) -> None:
        self._first = first_window
        self._capacity = capacity
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()

    def admit(self, alert: Alert, now: float) -> bool:
        """Whether the alert goes out now; otherwise it is held for the next digest."""
        key = sameness(alert)
        if key is None:
            return True
        window = self._windows.get(key)
        if window is None or (window.ends_at <= now and not window.held):
            self._windows[key] = _Window(self._first, now + self._first)
            self._windows.move_to_end(key)
            if len(self._windows) > self._capacity:
                self._windows.popitem(last=False)
            return True
        window.held += 1
        window.last = alert
        return False

    def due(self, now: float) -> list[Queued]:
        """The digests whose time has come."""
        return [self._digest(window, now) for window in self._windows.values() if window.held and window.ends_at <= now]

    def flush(self, now: float) -> list[Queued]:
        """Every digest, due or not: the process ends."""
        return [self._digest(window, now) for window in self._windows.values() if window.held]

    def next_due_at(self) -> float | None:
        """When `due` will next have something; None while nothing is held."""
        return min((window.ends_at for window in self._windows.values() if window.held), default=None)

    @staticmethod
    def _digest(window: _Window, now: float) -> Queued:
        if window.last is None:
            raise ValueError("a window that holds nothing has no digest")
        digest = Queued(window.last, repeats=window.held - 1)
        window.seconds = min(window.seconds * GROWTH, LONGEST_WINDOW)
        window.ends_at = now + window.seconds
        window.held, window.last = 0, None
        return digest
