"""What tests on the paper exchange share: its markets and keys, a price at which an order rests, and faults."""

from decimal import Decimal
from typing import Any

import aiohttp

from kontor.domain.order import OrderType
from kontor.exchange.guarded import GuardedExchange
from kontor.paper.server import PaperServer

SPOT, SWAP = "BTC/USD", "BTC/USD:USD"
MARKET = OrderType.MARKET
KEYS = {"api_key": "paper-key", "secret": "paper-secret", "password": "paper-passphrase"}


async def fault(paper: PaperServer, **rule: Any) -> None:
    """Have the next matching request go wrong."""
    async with aiohttp.ClientSession() as session, session.post(f"{paper.url}/admin/faults", json=rule) as response:
        assert response.status == 200, await response.text()


async def resting_price(desk: GuardedExchange, symbol: str) -> Decimal:
    """A price three percent below the market, on the tick."""
    last = (await desk.fetch_tickers([symbol]))[symbol].last
    assert last is not None
    return (await desk.load_markets())[symbol].round_price(last * Decimal("0.97"))
