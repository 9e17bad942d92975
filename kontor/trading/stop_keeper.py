"""Keeping the stops: looks as soon as anything was filled, and now and then in any case."""

import logging
from collections.abc import Mapping
from datetime import datetime

from kontor.errors import KontorError
from kontor.execution.parts import Parts
from kontor.ports import Alert, HistoryMark, Notifier
from kontor.trading.exits import WATCH
from kontor.trading.stops import StopReport, keep_stops

log = logging.getLogger(__name__)

UNPROTECTED = "unprotected"
LOOK_SECONDS = 0.25
KEEP_SECONDS = 10.0
# When the venue's positions do not show yet what the fills say.
AGAIN_SECONDS = 1.0


class StopKeeper:
    """Runs beside the executor for as long as it works; what fails is tried again at the next look."""

    def __init__(self, parts: Parts, notifier: Notifier | None = None) -> None:
        self._parts, self._notifier = parts, notifier
        self._seen: tuple[HistoryMark, datetime | None] | None = None
        self._due = float("-inf")

    async def run(self) -> None:
        """Keep them until canceled."""
        while True:
            try:
                await self.look()
            except KontorError as error:
                log.warning("stops not kept account=%s error=%s", self._parts.account, error)
            except Exception:  # a mistake of ours must not end the protection
                log.exception("stops not kept account=%s", self._parts.account)
            await self._parts.clock.sleep(LOOK_SECONDS)

    async def look(self) -> StopReport | None:
        """Keep the stops when something happened since the last look, or it is time; None when there was no need."""
        parts = self._parts
        now, mark = parts.clock.monotonic(), await self._mark()
        if mark == self._seen and now < self._due:
            return None
        report = await keep_stops(parts)
        # What changes from here on is looked at next: a stop that stands now, so that the one it replaces can go.
        self._seen, self._due = mark, now + (AGAIN_SECONDS if report.capped else KEEP_SECONDS)
        await self._tell(report.unprotected)
        return report

    async def _mark(self) -> tuple[HistoryMark, datetime | None]:
        """What moves a stop: orders and fills, and the best price that check-exits has seen."""
        store, account = self._parts.store, self._parts.account
        watch = await store.desk.attribute(account, WATCH)
        return await store.orders.history_end(account), None if watch is None else watch.at

    async def _tell(self, unprotected: Mapping[str, str]) -> None:
        """Alert once for each position that has no stop, and say when all have one again."""
        parts, now = self._parts, self._parts.clock.now()
        stored = await parts.store.desk.attribute(parts.account, UNPROTECTED)
        before: Mapping[str, str] = stored.value if stored and stored.value else {}
        if unprotected.keys() == before.keys():
            return
        if self._notifier is not None:
            for key in sorted(unprotected.keys() - before.keys()):
                title, text = f"No stop at the venue: {key}", unprotected[key]
                self._notifier.notify(Alert(title, text, "critical", now, parts.account, event="stop.missing"))
        await parts.store.desk.set_attribute(parts.account, UNPROTECTED, dict(unprotected), now)
