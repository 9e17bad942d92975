"""The ports: what the core needs from the outside, as protocols. Adapters live in exchange, store and notify."""

from kontor.ports.account_store import AccountStore
from kontor.ports.clock import Clock
from kontor.ports.desk_state import DeskState, Heartbeat, Lease
from kontor.ports.exchange import Exchange, ExchangeSettings
from kontor.ports.market_store import MarketStore
from kontor.ports.notifier import Alert, Notifier
from kontor.ports.order_queue import DueOrders, FillCounts, HistoryMark, News, OrderQueue
from kontor.ports.store import Store
from kontor.ports.streams import Streams

__all__ = [
    "AccountStore",
    "Alert",
    "Clock",
    "DeskState",
    "DueOrders",
    "Exchange",
    "ExchangeSettings",
    "FillCounts",
    "Heartbeat",
    "HistoryMark",
    "Lease",
    "MarketStore",
    "News",
    "Notifier",
    "OrderQueue",
    "Store",
    "Streams",
]
