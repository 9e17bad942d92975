"""A paper exchange and a desk's streams on it."""

from collections.abc import AsyncIterator

import pytest

from kontor.config import KontorConfig
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from tests.support.streaming import StreamingDesk, streaming_desk


@pytest.fixture
async def paper() -> AsyncIterator[PaperServer]:
    """A paper exchange without memory, whose prices move ten times a second."""
    settings = PaperSettings(port=0, persist=False, markets=12, tick_ms=20, price_tick_ms=100, rate_limit_factor=0)
    async with PaperServer(settings) as made:
        yield made


@pytest.fixture
async def desk(paper: PaperServer) -> AsyncIterator[StreamingDesk]:
    """A desk at that exchange."""
    config = KontorConfig.model_validate({"streams": {"flush_milliseconds": 20}, "candles": {"keep": 50}})
    async with streaming_desk(paper, config) as made:
        yield made
