"""How much memory this process holds."""

from __future__ import annotations

import linecache
import os
import resource
import sys
import time
from pathlib import Path

_MEGABYTE = 1024 * 1024
# By then a worker has imported what its flows need.
SETTLED_SECONDS = 120.0
# Tracebacks come in flurries, which need not read the same files again and again.
FORGET_SECONDS = 60.0


def resident_mb() -> float:
    """Resident memory in megabytes; where `/proc` is missing, the highest it has been."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _MEGABYTE if sys.platform == "darwin" else peak / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


class MemoryKeeper:
    """Keeps this process from growing by what has been: called every few seconds, it does what is due.

    Some time after the start it takes what stays out of the garbage collector's sight. Each minute it forgets the lines
    of source that tracebacks have shown: Python keeps every file whole that was ever part of one, ccxt's of a megabyte
    too.
    """

    def __init__(self) -> None:
        now = time.monotonic()
        self._settled_at, self._forget_at = now + SETTLED_SECONDS, now + FORGET_SECONDS

    def look(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_SECONDS
            linecache.clearcache()
        if now >= self._settled_at:
            self._settled_at = float("inf")
            # Prefect's server and command line load this module at every start, and have no use for ours.
            from kontor.resilience.garbage import set_aside_what_stays

            set_aside_what_stays()
