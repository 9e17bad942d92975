"""What a key may do, read from the answers of several venues as their documentation shows them."""

from __future__ import annotations

from typing import Any

import pytest

from kontor.exchange.key_permissions import READERS

OKX = {"data": [{"perm": "read_only,withdraw,trade"}]}
OKX_SAFE = {"data": [{"perm": "read_only,trade"}]}
BINANCE = {"enableReading": True, "enableWithdrawals": True, "enableSpotAndMarginTrading": False, "enableFutures": True}
BINANCE_SAFE = {"enableReading": True, "enableWithdrawals": False, "enableSpotAndMarginTrading": True}
BYBIT = {"result": {"readOnly": 0, "permissions": {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer", "Withdraw"]}}}
BYBIT_SAFE = {"result": {"readOnly": "0", "permissions": {"ContractTrade": ["Order", "Position"], "Wallet": []}}}
BYBIT_READS = {"result": {"readOnly": 1, "permissions": {"Spot": ["SpotTrade"], "Wallet": ["Withdraw"]}}}


class Client:
    """Answers every request alike."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        async def request() -> object:
            return self._answer

        return request


@pytest.mark.parametrize(
    ("venue", "answer", "expected"),
    [
        ("okx", OKX, {"read", "trade", "withdraw"}),
        ("okx", OKX_SAFE, {"read", "trade"}),
        ("binance", BINANCE, {"read", "trade", "withdraw"}),
        ("binanceusdm", BINANCE_SAFE, {"read", "trade"}),
        ("bybit", BYBIT, {"read", "trade", "withdraw"}),
        ("bybit", BYBIT_SAFE, {"read", "trade"}),
        ("bybit", BYBIT_READS, {"read"}),
    ],
)
async def test_permissions_are_read_as_each_venue_writes_them(venue: str, answer: object, expected: set[str]) -> None:
    """A permission that is overlooked is money that can be moved away."""
    assert await READERS[venue](Client(answer)) == expected


@pytest.mark.parametrize("venue", sorted(READERS))
def test_ccxt_has_the_method_that_is_asked(venue: str) -> None:
    """Its generated methods come and go with its releases."""
    from kontor.exchange.client import exchange_class

    names = {
        name for code in [READERS[venue].__code__] for name in code.co_names if name.startswith(("private", "sapi"))
    }
    assert names
    assert [name for name in names if not hasattr(exchange_class(venue), name)] == []
