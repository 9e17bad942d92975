"""How much memory this process holds."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

_MEGABYTE = 1024 * 1024
# By then a worker has imported what its flows need.
SETTLED_SECONDS = 120.0


def resident_mb() -> float:
    """Resident memory in megabytes; where `/proc` is missing, the highest it has been."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / _MEGABYTE if sys.platform == "darwin" else peak / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


class Settling:
    """Takes what stays out of the garbage collector's sight, once, some time after the start."""

    def __init__(self) -> None:
        self._due = time.monotonic() + SETTLED_SECONDS

    def look(self) -> None:
        """Do it when it is time."""
        if time.monotonic() >= self._due:
            self._due = float("inf")
            # Prefect's server and command line load this module at every start, and have no use for ours.
            from kontor.resilience.garbage import set_aside_what_stays

            set_aside_what_stays()
