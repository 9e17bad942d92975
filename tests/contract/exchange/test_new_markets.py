"""Markets that are listed while a session lasts: found when somebody asks for one, and not looked for all the time."""

import pytest

from kontor.errors import Rejected
from kontor.exchange.connection import Connection
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.resilience.clock import VirtualClock
from tests.support.streaming import settings_of

NEW = "XRP/USD:USD"
LISTS = "GET /api/v5/public/instruments"


async def test_a_market_listed_since_is_found_and_one_that_is_none_is_looked_for_once_a_minute() -> None:
    """An order or an updater in another process than update-watchlist would be refused it until the next restart."""
    clock = VirtualClock()
    async with PaperServer(PaperSettings(port=0, persist=False, markets=12, rate_limit_factor=0)) as paper:
        market = paper.venue._engine.state.market
        market.relist(market.instrument("XRP-USD-SWAP"), "expired", None)
        connection = Connection(settings_of(paper), clock)
        asked = paper.services.stats.requests
        try:
            await connection.load_markets()
            loads = asked[LISTS]
            with pytest.raises(Rejected, match=f"okx has no market {NEW}"):
                await connection.market(NEW)
            per_load = asked[LISTS] - loads
            market.relist(market.instrument("XRP-USD-SWAP"), "live", None)
            for _ in range(10):
                await clock.advance(1)
                with pytest.raises(Rejected):
                    await connection.market(NEW)
            assert asked[LISTS] == loads + per_load
            await clock.advance(60)
            assert (await connection.market(NEW)).symbol == NEW
            assert asked[LISTS] == loads + 2 * per_load
            # Another typo soon after costs nothing, and one later is looked for.
            with pytest.raises(Rejected):
                await connection.market("BTC/USDD")
            assert asked[LISTS] == loads + 2 * per_load
            await clock.advance(6)
            with pytest.raises(Rejected):
                await connection.market("BTC/USDD")
            assert asked[LISTS] == loads + 3 * per_load
        finally:
            await connection.close()
