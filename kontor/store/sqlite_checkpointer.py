"""Moving what the write-ahead log holds into the database file, where no order waits for it.

SQLite would do it inside whichever commit makes the log long: some milliseconds of copying and two waits for the disk,
which an order's commit has no time for. Here a thread with a connection of its own does it; PASSIVE blocks nobody.
"""

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# About as many pages as SQLite's own 1000 allow for, at some ten pages a commit.
COMMITS_BETWEEN = 128

logger = logging.getLogger(__name__)


class SqliteCheckpointer:
    """Called after each commit of this process; every so often it has the log moved."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._commits = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-checkpointer")
        self._connection: sqlite3.Connection | None = None

    def committed(self) -> None:
        """Note a commit; returns at once."""
        self._commits += 1
        if self._commits >= COMMITS_BETWEEN:
            self._commits = 0
            self._thread.submit(self._checkpoint)

    def close(self) -> None:
        """Finish what has begun; called from a thread that may wait."""
        self._thread.submit(self._let_go)
        self._thread.shutdown()

    def _checkpoint(self) -> None:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=0, check_same_thread=False)
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            # The log stays as it is, and the next time is soon.
            logger.debug("store not checkpointed path=%s error=%s", self._path, error)

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
