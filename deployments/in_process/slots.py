"""The worker's own limit on runs at once (`--limit`), counted from due to done."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from deployments.in_process.runs import ActiveRun


class Slots:
    """So many runs at a time, or as many as come."""

    def __init__(self, limit: int | None, *, on_free: Callable[[], None]) -> None:
        self._limit = limit
        self._taken: set[UUID] = set()
        self._on_free = on_free

    @property
    def are_limited(self) -> bool:
        """Whether a run has to wait for its due time before it may be claimed."""
        return self._limit is not None

    def take(self, run: ActiveRun) -> bool:
        """Whether there was a slot; a run without one stays in its queue, where other workers see it too."""
        if self._limit is not None:
            if len(self._taken) >= self._limit:
                return False
            self._taken.add(run.id)
        return True

    def release(self, run: ActiveRun) -> None:
        """Give the run's slot to the next one."""
        if run.id in self._taken:
            self._taken.discard(run.id)
            self._on_free()
