"""Committing what the venue did once for all requests that wait for it together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Commits:
    """Turns many answers that become ready in one turn of the event loop into one commit."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._waiting: asyncio.Future[None] | None = None

    async def done(self) -> None:
        """Return when everything that happened up to now is on disk; raises what the commit raises."""
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            loop.call_soon(self._commit)
        # Shielded: one client that goes away must not cancel the answer of the others.
        await asyncio.shield(self._waiting)

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001 - whoever waits for the commit gets the error
            waiting.set_exception(error)
            waiting.exception()
        else:
            waiting.set_result(None)
