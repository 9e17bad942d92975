"""Repeated alerts: the first goes out at once, what follows is counted and comes as a digest, ever more seldom."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kontor.notify.queued import Queued, dump_alert, load_alert, sameness
from kontor.notify.windows import Pacing
from kontor.ports import Alert

FIRST_WINDOW = 60.0
# Within a group, a name that was in no trouble for so long is news, however often the others come.
NAME_FORGOTTEN = 3600.0
# So many windows are kept for the other processes and the next start: the newest.
_KEPT = 100
_NAMES = 100


@dataclass(slots=True)
class _Window:
    pacing: Pacing
    held: int = 0
    last: Alert | None = None
    # When each name of the group was last in trouble.
    names: dict[str, float] = field(default_factory=dict)

    def hears_of(self, alert: Alert, now: float) -> bool:
        """Whether it is about something that this window has not told lately."""
        lately = [name for name in alert.about if 0 <= now - self.names.get(name, float("-inf")) <= NAME_FORGOTTEN]
        self.names |= dict.fromkeys(alert.about, now)
        while len(self.names) > _NAMES:
            del self.names[min(self.names, key=self.names.__getitem__)]
        return len(lately) < len(set(alert.about))


class Repeats:
    """Decides which alerts go out now; moments are seconds since the epoch, given by the caller.

    Of what says the same, or belongs to one group, a day makes eight messages at most: see `Pacing`. In a group that
    names what it is about, a new name goes out at once, and does not wait for those that flap.
    """

    def __init__(self, *, first_window: float = FIRST_WINDOW, capacity: int = 500) -> None:
        self._first = first_window
        self._capacity = capacity
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def admit(self, alert: Alert, now: float) -> Queued | None:
        """What goes out now; None when the alert is held for the next digest."""
        window = self._window(alert)
        if window is None:
            return Queued(alert)
        window.pacing.sees(now)
        is_new = window.hears_of(alert, now)
        is_first = is_new or window.pacing.sent == 0
        if is_new or (not window.held and window.pacing.may_send(now)):
            window.pacing.sends(now)
            return Queued(alert, is_first=is_first)
        window.held += 1
        window.last = alert
        return None

    def count(self, alert: Alert, times: int, now: float) -> None:
        """The alert came so many times more, right behind one that was admitted or held."""
        window = self._window(alert)
        if window is not None and times:
            window.pacing.sees(now)
            window.held += times
            window.last = alert

    def due(self, now: float) -> list[Queued]:
        """The digests whose time has come."""
        return [self._digest(w, now) for w in self._windows.values() if w.held and w.pacing.may_send(now)]

    def flush(self, now: float) -> list[Queued]:
        """Every digest, due or not: the process ends."""
        return [self._digest(window, now) for window in self._windows.values() if window.held]

    def next_due_at(self) -> float | None:
        """When `due` will next have something; None while nothing is held."""
        return min((window.pacing.next_at for window in self._windows.values() if window.held), default=None)

    def dump(self) -> dict[str, Any]:
        """As the store keeps it; of more windows than a desk has troubles, the newest."""
        return {key: _dump(window) for key, window in self._newest()}

    def load(self, kept: Mapping[str, Any]) -> None:
        """Go on from what was kept."""
        self._windows = OrderedDict((key, self._loaded(value)) for key, value in kept.items())

    def forget_held(self) -> None:
        """What is held is in the store; from here on hold what comes while that cannot be reached."""
        for window in self._windows.values():
            window.held, window.last = 0, None

    def join(self, kept: Mapping[str, Any]) -> None:
        """Add what was kept to what was decided here meanwhile."""
        for key, value in kept.items():
            mine = self._windows.get(key)
            if mine is None:
                self._windows[key] = self._loaded(value)
                continue
            mine.pacing.join(value["pacing"])
            mine.held += value["held"]
            mine.last = mine.last or (load_alert(value["last"]) if value["last"] else None)
            mine.names = {**value["names"], **mine.names}

    def _window(self, alert: Alert) -> _Window | None:
        key = _key(alert)
        if key is None:
            return None
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self._capacity:
                self._drop_one()
            window = self._windows[key] = _Window(Pacing(self._first))
        self._windows.move_to_end(key)
        return window

    def _newest(self) -> Iterator[tuple[str, _Window]]:
        skipped = len(self._windows) - _KEPT
        for key, window in self._windows.items():
            if skipped > 0 and not window.held:
                skipped -= 1
                continue
            yield key, window

    def _loaded(self, kept: Mapping[str, Any]) -> _Window:
        pacing = Pacing(self._first)
        pacing.load(kept["pacing"])
        last = load_alert(kept["last"]) if kept["last"] else None
        return _Window(pacing, kept["held"], last, dict(kept["names"]))

    def _drop_one(self) -> None:
        """Forget the one that was silent longest; one that holds something back only when all do."""
        idle = (key for key, window in self._windows.items() if not window.held)
        del self._windows[next(idle, next(iter(self._windows)))]

    @staticmethod
    def _digest(window: _Window, now: float) -> Queued:
        if window.last is None:
            raise ValueError("a window that holds nothing has no digest")
        digest = Queued(window.last, repeats=window.held - 1, is_first=False)
        window.pacing.sends(now)
        window.held, window.last = 0, None
        return digest


def _key(alert: Alert) -> str | None:
    same = sameness(alert)
    return None if same is None else hashlib.sha256(repr(same).encode("utf-8", "replace")).hexdigest()[:24]


def _dump(window: _Window) -> dict[str, Any]:
    last = dump_alert(window.last) if window.last else None
    return {"pacing": window.pacing.dump(), "held": window.held, "last": last, "names": window.names}
