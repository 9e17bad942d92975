"""Repeated alerts: the first goes out at once, what follows is counted and comes as a digest, ever more seldom."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from kontor.notify.queued import Queued, sameness
from kontor.notify.windows import Pacing
from kontor.ports import Alert

FIRST_WINDOW = 60.0


@dataclass(slots=True)
class _Window:
    pacing: Pacing
    held: int = 0
    last: Alert | None = None


class Repeats:
    """Decides which alerts go out now; moments are seconds of a monotonic clock, given by the caller.

    Of what says the same, or belongs to one group, a day makes eight messages at most: see `Pacing`.
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
        if window is None:
            if len(self._windows) >= self._capacity:
                self._drop_one()
            window = self._windows[key] = _Window(Pacing(self._first))
        self._windows.move_to_end(key)
        window.pacing.sees(now)
        if not window.held and window.pacing.may_send(now):
            window.pacing.sends(now)
            return True
        window.held += 1
        window.last = alert
        return False

    def due(self, now: float) -> list[Queued]:
        """The digests whose time has come."""
        return [self._digest(w, now) for w in self._windows.values() if w.held and w.pacing.may_send(now)]

    def flush(self, now: float) -> list[Queued]:
        """Every digest, due or not: the process ends."""
        return [self._digest(window, now) for window in self._windows.values() if window.held]

    def next_due_at(self) -> float | None:
        """When `due` will next have something; None while nothing is held."""
        return min((window.pacing.next_at for window in self._windows.values() if window.held), default=None)

    def _drop_one(self) -> None:
        """Forget the one that was silent longest; one that holds something back only when all do."""
        idle = (key for key, window in self._windows.items() if not window.held)
        del self._windows[next(idle, next(iter(self._windows)))]

    @staticmethod
    def _digest(window: _Window, now: float) -> Queued:
        if window.last is None:
            raise ValueError("a window that holds nothing has no digest")
        digest = Queued(window.last, repeats=window.held - 1)
        window.pacing.sends(now)
        window.held, window.last = 0, None
        return digest
