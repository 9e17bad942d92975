"""What a venue begins to say is counted and told once; what its protocol always says is not."""

import logging
from typing import Any

import pytest

from kontor.exchange.message_kinds import kind_of
from kontor.exchange.stream_client import MOST_KINDS, StreamEvents
from kontor.resilience.clock import VirtualClock
from kontor.resilience.connection_gate import ConnectionGate

PROTOCOL: tuple[Any, ...] = (
    # OKX
    {"event": "subscribe", "arg": {"channel": "tickers", "instId": "BTC-USDT"}, "connId": "a4d3ae55"},
    {"event": "login", "msg": "", "code": "0", "connId": "a4d3ae55"},
    {"event": "channel-conn-count", "channel": "orders", "connCount": "2", "connId": "abcd1234"},
    "pong",
    # Binance
    {"result": None, "id": 1},
    {"id": 2, "status": 200, "result": {}, "rateLimits": []},
    # Bybit
    {"success": True, "ret_msg": "subscribe", "conn_id": "c0c", "req_id": "", "op": "subscribe"},
    {"req_id": "1", "op": "pong", "args": ["1675418560633"], "conn_id": "cfcb"},
    # Kraken
    {"connectionID": 8628615390848610000, "event": "systemStatus", "status": "online", "version": "1.9.0"},
    {"channelID": 1, "channelName": "ticker", "event": "subscriptionStatus", "pair": "XBT/EUR", "status": "subscribed"},
    {"method": "subscribe", "result": {"channel": "ticker"}, "success": True, "time_in": "t", "time_out": "t"},
    {"channel": "status", "type": "update", "data": [{"system": "online"}]},
    {"channel": "heartbeat"},
    # KuCoin, Deribit, Hyperliquid, Bitfinex
    {"id": "hQvf8jkno", "type": "welcome"},
    {"jsonrpc": "2.0", "id": 1, "result": ["ticker.BTC-PERPETUAL.100ms"], "usIn": 1, "usOut": 2, "usDiff": 1},
    {"channel": "subscriptionResponse", "data": {"method": "subscribe"}},
    [1, "hb"],
)


@pytest.mark.parametrize("message", PROTOCOL, ids=str)
def test_acknowledgements_and_heartbeats_are_not_counted(message: Any) -> None:
    """They come all day; an alarm that rings for them rings for nothing."""
    assert kind_of(message) is None


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"arg": {"channel": "unheard-of"}, "data": []}, "arg,data"),
        ({"e": "margin_call", "E": 1}, "E,e"),
        # Each of these has a key of the protocol as well, and used to be dropped for that.
        ({"type": "liquidation", "data": [{"secret": 1}]}, "data,type"),
        ({"id": 7, "order": {"price": "1"}}, "id,order"),
        ({"event": "executionReport", "data": {}}, "data,event"),
        # A word of the protocol that is news: OKX closes the connection soon.
        ({"event": "notice", "code": "64008", "msg": "upgrade", "connId": "1"}, "code,connId,event=notice,msg"),
        ([1, [2, 3], "trade"], "list of 3"),
        (17, "int"),
    ],
)
def test_anything_else_is_counted_by_its_shape(message: Any, kind: str) -> None:
    """By keys, type and length: what it contains may be nobody's business."""
    assert kind_of(message) == kind


def test_each_kind_is_told_once_and_of_very_many_kinds_the_rest_is_one(caplog: pytest.LogCaptureFixture) -> None:
    """A venue that puts an id into its keys must not fill the log, or the memory."""
    caplog.set_level(logging.WARNING)
    events = StreamEvents(ConnectionGate("okx", clock=VirtualClock()), ())
    for number in range(3 * MOST_KINDS):
        for _ in range(2):
            events.not_understood({f"key{number}": 1})
    assert len(events.unknown) == MOST_KINDS + 1
    assert events.unknown["(others)"] == 4 * MOST_KINDS
    assert sum(events.unknown.values()) == 6 * MOST_KINDS
    assert len(caplog.records) == MOST_KINDS + 1


def test_messages_that_are_never_readable_are_told_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    """One market may send them for days."""
    caplog.set_level(logging.WARNING)
    events = StreamEvents(ConnectionGate("okx", clock=VirtualClock()), ())
    for _ in range(1000):
        events.not_readable("x", ValueError("bad"))
    assert (events.unreadable, events.breaks) == (1000, 1000)
    assert len(caplog.records) == 10
