"""Who listens to what, and telling them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import orjson

from kontor.paper import rendering, rendering_account, rendering_orders
from kontor.paper.algos.rendering import algo_update
from kontor.paper.channels import BOOK_DEPTHS, Subscription
from kontor.paper.model import Event
from kontor.paper.order_books import LiveBook
from kontor.paper.services import Services

if TYPE_CHECKING:
    from kontor.paper.websocket import Connection

Topic = tuple[str, str]
Listeners = dict[tuple["Connection", Subscription], None]
REPEAT_SECONDS = 5.0
CLOSE_SECONDS = 1.0
MAX_NEW_TRADES = 50


class Hub:
    """Delivers the venue's events to the sockets that asked for them, and looks up what the venue has no events for."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._venue = services.venue
        self._topics: dict[Topic, Listeners] = {}
        self._books: dict[str, LiveBook] = {}
        self._last: dict[Topic, Any] = {}
        self._repeat_at = 0.0
        self.connections: set[Connection] = set()
        self._errands: set[asyncio.Task[None]] = set()
        self._stop = self._venue.subscribe(self._deliver)

    async def close(self) -> None:
        """Hear no more events, and close every socket."""
        self._stop()
        for connection in list(self.connections):
            self.let_go(connection.close(1001, "going away"))
        if self._errands:
            _, late = await asyncio.wait(self._errands, timeout=CLOSE_SECONDS)
            for connection in list(self.connections):
                connection.drop()
            for errand in late:
                errand.cancel()

    def let_go(self, errand: Coroutine[Any, Any, None]) -> None:
        """See to something in the background, a closing handshake for instance."""
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def add(self, connection: Connection, wanted: Subscription) -> None:
        """Let a connection listen, and tell it how things stand."""
        listeners = self._topics.setdefault(wanted.topic, {})
        if (connection, wanted) in listeners:
            return
        listeners[connection, wanted] = None
        self._watch(wanted, on=True)
        self._greet(connection, wanted)

    def remove(self, connection: Connection, wanted: Subscription) -> None:
        """Stop telling a connection about this."""
        listeners = self._topics.get(wanted.topic, {})
        if (connection, wanted) not in listeners:
            return
        del listeners[connection, wanted]
        self._watch(wanted, on=False)
        if not listeners:
            del self._topics[wanted.topic]
            self._last.pop(wanted.topic, None)
            if wanted.channel == "books":
                self._books.pop(wanted.inst_id, None)

    def poll(self) -> None:
        """Tell what changed since the last time: books, trades, mark prices; and now and then what one owns."""
        for topic in list(self._topics):
            channel, inst_id = topic
            if channel == "books":
                self._poll_book(topic)
            elif channel in BOOK_DEPTHS:
                self._poll_levels(topic)
            elif channel == "trades":
                self._poll_trades(topic)
            elif channel == "mark-price":
                self._poll_mark_price(topic, inst_id)
        if time.monotonic() >= self._repeat_at:
            self._repeat_at = time.monotonic() + REPEAT_SECONDS
            self._repeat()
        for connection in list(self.connections):
            if connection.idle:
                connection.stay()
                self.let_go(connection.close(4004, "No data received in 30s"))

    def _watch(self, wanted: Subscription, *, on: bool) -> None:
        change = self._venue.watch if on else self._venue.unwatch
        if wanted.channel == "tickers":
            change("tickers", wanted.inst_id)
        elif wanted.bar:
            change("candles", wanted.inst_id, wanted.bar)

    def _greet(self, connection: Connection, wanted: Subscription) -> None:
        """What a new listener is told at once."""
        if wanted.channel == "tickers":
            connection.send(wanted.message(_json([rendering.ticker(self._venue.ticker(wanted.inst_id))])))
        elif wanted.bar:
            newest = self._venue.candles(wanted.inst_id, wanted.bar, limit=1)
            connection.send(wanted.message(_json([self._candle(wanted.inst_id, item) for item in newest])))
        elif wanted.channel == "books":
            if wanted.inst_id not in self._books:
                self._books[wanted.inst_id] = LiveBook()
                self._books[wanted.inst_id].update(self._venue.book(wanted.inst_id, BOOK_DEPTHS["books"]))
            snapshot = self._books[wanted.inst_id].snapshot()
            connection.send(wanted.message(_json([snapshot]), action="snapshot"))
        elif wanted.channel in BOOK_DEPTHS:
            connection.send(wanted.message(_json([self._levels(wanted.channel, wanted.inst_id)])))
        elif wanted.account:
            self._state(connection, wanted, "snapshot")

    def _state(self, connection: Connection, wanted: Subscription, event: str) -> None:
        venue, account = self._venue, wanted.account
        if wanted.channel == "account":
            row = rendering_account.balance(venue.balance(account))
            connection.send(wanted.message(_json([row]), eventType=event, curPage=1, lastPage=True))
        elif wanted.channel == "positions":
            rows = [rendering_account.position(item) for item in venue.positions(account) if wanted.wants(item.inst_id)]
            connection.send(wanted.message(_json(rows), eventType=event, curPage=1, lastPage=True))
        elif wanted.channel == "balance_and_position":
            balance = venue.balance(account)
            row = rendering_account.balance_and_position(
                balance.u_time, balance.details, venue.positions(account), event
            )
            connection.send(wanted.message(_json([row])))

    def _repeat(self) -> None:
        for channel in ("account", "positions"):
            for topic in [topic for topic in self._topics if topic[0] == channel]:
                for connection, wanted in list(self._topics[topic]):
                    self._state(connection, wanted, "event_update")

    def _deliver(self, event: Event) -> None:
        """One event of the venue, already on disk."""
        if event.channel == "tickers":
            self._tell((event.channel, event.inst_id), _json([rendering.ticker(event.data)]))
        elif event.channel == "candles":
            self._tell((f"candle{event.key}", event.inst_id), _json([self._candle(event.inst_id, event.data)]))
        elif event.channel == "orders":
            self._tell_owner(event, _json([rendering_orders.order_update(event.data)]))
        elif event.channel == "orders-algo":
            row = algo_update(event.data, self._venue.instrument(event.inst_id))
            self._tell_owner(event, _json([row]))
        elif event.channel == "positions":
            self._tell_owner(event, _json([rendering_account.position(event.data)]), eventType="event_update")
            self._tell_both(event, rendering_account.balance_and_position(event.ts, (), [event.data], "filled"))
        elif event.channel == "account":
            row = rendering_account.balance(event.data)
            self._tell_owner(event, _json([row]), eventType="event_update", curPage=1, lastPage=True)
            balances = event.data.details
            self._tell_both(event, rendering_account.balance_and_position(event.ts, balances, [], "filled"))

    def _tell(self, topic: Topic, data: str, **more: Any) -> None:
        for connection, wanted in list(self._topics.get(topic, ())):
            connection.send(wanted.message(data, **more))

    def _tell_owner(self, event: Event, data: str, **more: Any) -> None:
        for connection, wanted in self._listeners(event.channel, event.account):
            if not event.inst_id or wanted.wants(event.inst_id):
                connection.send(wanted.message(data, **more))

    def _tell_both(self, event: Event, row: rendering.Json) -> None:
        data = _json([row])
        for connection, wanted in self._listeners("balance_and_position", event.account):
            connection.send(wanted.message(data))

    def _listeners(self, channel: str, owner: str) -> Iterable[tuple[Connection, Subscription]]:
        return list(self._topics.get((channel, owner), ()))

    def _poll_book(self, topic: Topic) -> None:
        change = self._books[topic[1]].update(self._venue.book(topic[1], BOOK_DEPTHS["books"]))
        if change is not None:
            self._tell(topic, _json([change]), action="update")

    def _poll_levels(self, topic: Topic) -> None:
        row = self._levels(*topic)
        sides = (row["asks"], row["bids"])
        if self._last.get(topic) != sides:
            self._last[topic] = sides
            self._tell(topic, _json([row]))

    def _poll_trades(self, topic: Topic) -> None:
        newest = self._venue.trades(topic[1], MAX_NEW_TRADES)
        known = self._last.get(topic)
        self._last[topic] = newest[0].trade_id if newest else known
        fresh = []
        for trade in newest:
            if trade.trade_id == known:
                break
            fresh.append(trade)
        for trade in reversed(fresh if known is not None else fresh[:1]):
            row = {**rendering.public_trade(trade), "count": "1", "source": "0", "seqId": trade.ts}
            self._tell(topic, _json([row]))

    def _poll_mark_price(self, topic: Topic, inst_id: str) -> None:
        price = rendering.number(self._venue.mark_price(inst_id))
        if self._last.get(topic) != price:
            self._last[topic] = price
            kind = self._venue.instrument(inst_id).inst_type
            row = {"instId": inst_id, "instType": kind, "markPx": price, "ts": str(self._venue.now())}
            self._tell(topic, _json([row]))

    def _levels(self, channel: str, inst_id: str) -> rendering.Json:
        row = rendering.levels(self._venue.book(inst_id, BOOK_DEPTHS[channel]))
        return {**row, "instId": inst_id, "seqId": int(row["ts"])}

    def _candle(self, inst_id: str, item: Any) -> list[str]:
        swap = self._venue.instrument(inst_id).is_swap
        return rendering.candle(item) if swap else rendering.spot_candle(item)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
