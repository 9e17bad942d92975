"""News of other processes' commits in a SQLite file: a cheap look every few milliseconds while somebody waits."""

import asyncio
import logging
import sqlite3
from pathlib import Path

from kontor.store.changes import Changes

# A look costs 6 microseconds and the timer around it some times that (docs/adr/0005-sqlite-writer.md): often while
# orders are coming in, seldom when nothing has happened for a while.
BUSY_POLL_SECONDS, IDLE_POLL_SECONDS = 0.001, 0.01
BUSY_FOR_SECONDS = 5.0

logger = logging.getLogger(__name__)


class SqliteWatcher:
    """Feeds `Changes` from a connection of its own, which never holds a transaction.

    `PRAGMA data_version` moves on every commit of any other connection, candles included; only then is the change
    counter read, and only when that has grown are waiters woken.
    """

    def __init__(self, path: Path, changes: Changes) -> None:
        self._path = path
        self._changes = changes
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._busy_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, account: str, *, seconds: float) -> bool:
        """See `Changes.wait`."""
        self.watch(account)
        if self._timer is None:
            self._look()
        return await self._changes.wait(account, seconds=seconds)

    def watch(self, account: str) -> None:
        """Remember the account's number now, if this is the first time that somebody cares."""
        if account not in self._changes.watched:
            self._changes.watch(account, self._number(account))

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> None:
        """Compare, then come back while somebody waits; runs on the event loop, which it holds for microseconds."""
        self._timer = None
        loop = asyncio.get_running_loop()
        try:
            (version,) = self._connect().execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                for account in self._changes.watched:
                    if self._changes.reached(account, self._number(account)):
                        self._busy_until = loop.time() + BUSY_FOR_SECONDS
        except sqlite3.Error as error:
            # A waiter then returns False, and its next query meets the same trouble and reports it.
            logger.debug("store watcher cannot look path=%s error=%s", self._path, error)
        pause = BUSY_POLL_SECONDS if loop.time() < self._busy_until else IDLE_POLL_SECONDS
        self._timer = loop.call_later(pause, self._next_look)

    def _next_look(self) -> None:
        if self._changes.has_waiters:
            self._look()
        else:
            self._timer = None

    def _number(self, account: str) -> int:
        row = self._connect().execute("SELECT number FROM changes WHERE account = ?", (account,)).fetchone()
        return 0 if row is None else row[0]

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            # No waiting inside SQLite: this is the event loop's own thread.
            self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        return self._connection
