"""Each venue's dead man's switch through ccxt: what goes over the wire to arm it, and what to disarm it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt.async_support
import pytest

from kontor.domain.market import MarketKind
from kontor.errors import ExchangeError, NotSupported
from kontor.exchange.adapter import CcxtExchange
from kontor.exchange.capabilities import NEEDED
from kontor.exchange.venue_switches import SWITCHES
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import VirtualClock

from .conftest import made, raw_market

SPOT, SWAP = MarketKind
# A wallet that nobody uses.
WALLET = {"api_key": "0x" + "1" * 40, "secret": "0x" + "2" * 64}
# Secrets of these venues are base64.
BASE64 = {"api_key": "key", "secret": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "password": ""}
KEYS: Mapping[str, Mapping[str, str]] = {"hyperliquid": WALLET, "kraken": BASE64, "krakenfutures": BASE64}


class Wire:
    """An adapter whose requests end here."""

    def __init__(self, exchange_id: str) -> None:
        keys: Mapping[str, Any] = KEYS.get(exchange_id, {"api_key": "key", "secret": "secret", "password": "pass"})
        settings = ExchangeSettings(exchange_id, "main", capital_currency="USD", requests_per_second=1000, **keys)
        self.exchange = CcxtExchange(settings, clock=VirtualClock())
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.answer: Any = {"status": "ok", "code": "0", "error": [], "result": "success", "response": {}}
        client = self.exchange.connection.client
        # It has markets, so that nobody asks for them.
        client.markets, client.markets_by_id = {"BTC/USDT": {}}, {}
        self.exchange.connection.markets = {"BTC/USD:USD": made(raw_market())}
        client.fetch = self.fetch

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        del headers
        found = urlsplit(url)
        sent: dict[str, Any] = dict(parse_qsl(found.query))
        if body:
            text = body if isinstance(body, str) else body.decode()
            sent |= json.loads(text) if text.startswith("{") else dict(parse_qsl(text))
        if method == "POST" and "scheduleCancel" not in (sent.get("action") or {}).get("type", "scheduleCancel"):
            # Hyperliquid's builder and referral requests, which ccxt makes first.
            return self.answer
        self.sent.append((found.path, sent))
        return self.answer

    async def set(self, seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """What is sent for it."""
        self.sent.clear()
        await self.exchange.cancel_all_after(seconds)
        return [(path, sent) for path, sent in self.sent if "info" not in path]


@pytest.mark.parametrize(
    ("exchange_id", "path", "armed", "disarmed"),
    [
        ("okx", "/api/v5/trade/cancel-all-after", {"timeOut": 30}, {"timeOut": 0}),
        ("kraken", "/0/private/CancelAllOrdersAfter", {"timeout": "30"}, {"timeout": "0"}),
        ("krakenfutures", "/derivatives/api/v3/cancelallordersafter", {"timeout": "30"}, {"timeout": "0"}),
        ("htx", "/v2/algo-orders/cancel-all-after", {"timeout": 30}, {"timeout": 0}),
    ],
)
async def test_one_request_arms_it_and_a_time_of_zero_disarms_it(
    exchange_id: str, path: str, armed: Mapping[str, Any], disarmed: Mapping[str, Any]
) -> None:
    """In seconds there, milliseconds in ccxt."""
    wire = Wire(exchange_id)
    for seconds, wanted in ((30, armed), (0, disarmed)):
        [(sent_to, sent)] = await wire.set(seconds)
        assert sent_to == path
        assert wanted.items() <= sent.items()


async def test_bingx_is_told_for_each_kind_of_market() -> None:
    """One request covers spot, another one swaps; ccxt sends the one of the default type."""
    wire = Wire("bingx")
    sent = await wire.set(30)
    assert [path for path, _ in sent] == [
        "/openApi/spot/v1/trade/cancelAllAfter",
        "/openApi/swap/v2/trade/cancelAllAfter",
    ]
    assert all((each["type"], int(each["timeOut"])) == ("ACTIVATE", 30) for _, each in sent)
    assert [each["type"] for _, each in await wire.set(0)] == ["CLOSE", "CLOSE"]


async def test_hyperliquid_is_armed_for_a_moment_and_disarmed_by_an_action_without_one() -> None:
    """For 0 ccxt sends "cancel all now" (which is refused, being too soon): an orderly end left the switch armed."""
    wire = Wire("hyperliquid")
    [(path, armed)] = await wire.set(30)
    assert path == "/exchange"
    assert armed["action"] == {"type": "scheduleCancel", "time": armed["nonce"] + 30_000}
    [(path, disarmed)] = await wire.set(0)
    assert path == "/exchange"
    assert disarmed["action"] == {"type": "scheduleCancel"}
    assert disarmed["nonce"] > armed["nonce"]
    assert {"r", "s", "v"} <= disarmed["signature"].keys()


async def test_a_refusal_by_hyperliquid_is_an_error_with_its_words() -> None:
    """It wants a million dollars of volume first; an answer with status 200 must not pass for an armed switch."""
    wire = Wire("hyperliquid")
    client = wire.exchange.connection.client

    async def refuse(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        text = '{"status":"err","response":"Cannot set scheduled cancel time until enough volume traded."}'
        answer = json.loads(text)
        client.handle_errors(200, "OK", url, method, {}, text, answer, headers, body)
        return answer

    client.fetch = refuse
    with pytest.raises(ExchangeError, match="enough volume traded"):
        await wire.exchange.cancel_all_after(30)


@pytest.mark.parametrize("exchange_id", ["bybit", "bitvavo", "whitebit"])
async def test_what_only_ccxt_says_is_not_believed(exchange_id: str) -> None:
    """Bybit's counts from a lost socket, and cannot be disarmed; of the others nobody has looked."""
    wire = Wire(exchange_id)
    assert wire.exchange.connection.client.has["cancelAllOrdersAfter"]
    profile = wire.exchange.profile
    assert not profile.cancel_all_after
    assert any("dead man's switch" in sentence for sentence in profile.lacks(NEEDED))
    with pytest.raises(NotSupported, match="that this desk can keep"):
        await wire.exchange.cancel_all_after(30)
    assert wire.sent == []


def test_every_switch_is_one_that_ccxt_has_and_says_whose_orders_it_takes() -> None:
    """The table is held against the installed ccxt."""
    for exchange_id in SWITCHES:
        assert getattr(ccxt.async_support, exchange_id)().has["cancelAllOrdersAfter"]
    kinds = {exchange_id: Wire(exchange_id).exchange.profile.cancel_all_after_kinds for exchange_id in SWITCHES}
    assert kinds["okx"] == kinds["bingx"] == kinds["hyperliquid"] == {SPOT, SWAP}
    assert (kinds["kraken"], kinds["htx"], kinds["krakenfutures"]) == ({SPOT}, {SPOT}, {SWAP})
