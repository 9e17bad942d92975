"""What the flow runs of a worker share and that outlives each of them: kept open meanwhile, closed at its end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator

from tasks import KEEP_OPEN

_ALERTS_SECONDS = 5.0


@contextlib.asynccontextmanager
async def kept_open() -> AsyncIterator[None]:
    """Sessions, stores and the alert sender of this loop stay open between runs; all are closed when the block ends."""
    before = os.environ.get(KEEP_OPEN)
    os.environ[KEEP_OPEN] = "1"
    try:
        yield
    finally:
        # Only what was loaded: a worker that ran no flow of ours has none of this, and should not load it now.
        if resources := sys.modules.get("tasks.resources"):
            await resources.Resources.here().close()
        if notifications := sys.modules.get("tasks.notifications"):
            await notifications.close_sender(seconds=_ALERTS_SECONDS)
        if before is None:
            del os.environ[KEEP_OPEN]
