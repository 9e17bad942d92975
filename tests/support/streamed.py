"""What a desk of a test can do once it streams, on a venue of its own or on a script."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from kontor.streams.freshness import load_channels
from kontor.streams.streamer import Streamer, StreamParts


class StreamedDesk:
    """Base of both: whoever has the parts of a stream can run one, and ask how fresh its channels are."""

    @property
    def parts(self) -> StreamParts:
        """One account's side of a stream."""
        raise NotImplementedError

    @asynccontextmanager
    async def streaming(self, kind: type[Streamer]) -> AsyncIterator[Streamer]:
        """Stream beside the test."""
        streamer = kind(self.parts)
        task = asyncio.create_task(streamer.run())
        try:
            yield streamer
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def is_fresh(self, *channels: str) -> bool:
        """What an updater would be told."""
        parts = self.parts
        found = await load_channels(parts.store.desk, parts.account, parts.clock.now())
        return all(channel in found and found[channel].is_fresh for channel in channels)
