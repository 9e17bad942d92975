"""A byte every few seconds for whoever started this worker: proof that its event loop still turns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PULSE_SECONDS = 5.0


@asynccontextmanager
async def pulsing(descriptor: int | None) -> AsyncIterator[None]:
    """While inside, write to the pipe from the running loop; nothing where nobody listens.

    By a pipe and not by a file or the store: a full disk must not look like a worker that hangs.
    """
    if descriptor is None:
        yield
        return
    # Processes that this one starts must not keep the pipe alive, nor may a supervisor that sleeps hold us up.
    os.set_inheritable(descriptor, False)
    os.set_blocking(descriptor, False)
    task = asyncio.create_task(_beat(descriptor), name="pulse")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _beat(descriptor: int) -> None:
    while True:
        # Full: nobody has looked for a day. Broken: nobody is there.
        with suppress(OSError):
            os.write(descriptor, b".")
        await asyncio.sleep(PULSE_SECONDS)
