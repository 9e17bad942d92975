"""When to try something again: pauses that double with jitter, per key, and start over once it worked."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Pauses:
    """Pauses by key, in seconds of the caller's monotonic clock; `longest` is never exceeded."""

    first: float = 0.25
    longest: float = 10.0
    rng: random.Random = field(default_factory=random.Random)
    _due: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def failed(self, key: str, now: float, *, at_least: float = 0.0) -> float:
        """Note one more failure; returns the seconds until the key is due again."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2.0**60 is far beyond any longest pause, and a float.
        pause = min(self.first * 2.0 ** min(failures, 60), self.longest) * self.rng.uniform(0.5, 1.0)
        pause = max(pause, at_least)
        self._due[key] = now + pause
        return pause

    def worked(self, key: str) -> None:
        """Forget the key's failures."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def is_due(self, key: str, now: float) -> bool:
        """Whether the key's pause is over, or it has none."""
        return now >= self._due.get(key, now)

    def next_due(self, now: float) -> float | None:
        """Seconds until the first pause that is not over ends; None when there is none."""
        return min((due - now for due in self._due.values() if due > now), default=None)
