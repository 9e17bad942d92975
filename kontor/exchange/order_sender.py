"""Orders over one connection: sent once, canceled, looked up, each failure with its meaning."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ccxt

from kontor.domain.market import Market
from kontor.domain.order import Order, OrderReport
from kontor.errors import AuthenticationFailed, ExchangeError, NotSent, NotSupported, OutcomeUnknown, Rejected
from kontor.exchange.capabilities import batch_limits, cost_only_buys, mentions_client_id
from kontor.exchange.connection import Connection
from kontor.exchange.error_table import Asked
from kontor.exchange.order_reports import parse_created, parse_order
from kontor.exchange.order_requests import check_order, expires_at, order_request
from kontor.exchange.replies import Reply, read_item, read_items
from kontor.exchange.stops import ABOUT_STOPS, became, parse_stop, stop_request
from kontor.exchange.wire import current_call, part_of_call
from kontor.resilience.rate_budget import Priority

Result = OrderReport | ExchangeError
_ARGUMENTS = ("symbol", "type", "side", "amount", "price", "params")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An order that passed the venue's rules, with its place in the list the caller gave."""

    place: int
    order: Order
    market: Market
    request: dict[str, Any]


Batch = Sequence[Prepared]


class OrderSender:
    """Creates, cancels and looks up. Nothing here sends anything twice."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: Any = connection.client
        self._batch_limits = batch_limits(self._client)
        self._cost_only_buys = cost_only_buys(self._client)
        self._cancels_by_client_id = mentions_client_id(self._client, "cancel_order")

    async def create(self, order: Order) -> OrderReport:
        """Send one order once."""
        if not self._client.has.get("createOrder"):
            raise self._unsupported("createOrder")
        market, request = await self._prepare(order)
        operation = f"create_order {order.symbol} {order.client_order_id}"

        async def send() -> OrderReport:
            self._expire([order])
            raw = await self._client.create_order(*(request[name] for name in _ARGUMENTS))
            return self._receipt(raw, order, market, operation)

        return await self._connection.ask(operation, send, asked=Asked.CREATE)

    async def create_all(self, orders: Sequence[Order]) -> Sequence[Result]:
        """Send several; one result per order, in order, errors as values."""
        results: dict[int, Result] = {}
        prepared: list[Prepared] = []
        for place, order in enumerate(orders):
            try:
                prepared.append(Prepared(place, order, *await self._prepare(order)))
            except ExchangeError as error:
                results[place] = error
        for answered in await asyncio.gather(*(self._create_batch(batch) for batch in self._batches(prepared))):
            results |= answered
        return [results[place] for place in range(len(orders))]

    async def cancel(
        self, symbol: str, client_order_id: str | None, venue_order_id: str | None, *, stop: bool = False
    ) -> None:
        """Ask for a cancel by the venue's id where it is known, else by ours."""
        if stop:
            self._require_stops()
        if not self._client.has.get("cancelOrder"):
            raise self._unsupported("cancelOrder")
        await self._ready(symbol)
        params: dict[str, Any] = dict(ABOUT_STOPS) if stop else {}
        if venue_order_id is None:
            if client_order_id is None or not self._cancels_by_client_id:
                raise self._needs_venue_id("cancel an order", client_order_id)
            params["clientOrderId"] = client_order_id
        operation = f"cancel_order {symbol} {venue_order_id or client_order_id}"

        async def send() -> None:
            try:
                raw = await self._client.cancel_order(venue_order_id, symbol, params)
            except ccxt.CancelPending:
                return
            if not isinstance(raw, Mapping) or not raw.get("info"):
                raise ccxt.BadResponse("the answer to the cancel says nothing")
            if raw.get("status") == "rejected":
                raise self._rejection(read_item(raw["info"]))

        await self._connection.ask(operation, send, asked=Asked.CANCEL)

    async def look_up(self, symbol: str, client_order_id: str | None, venue_order_id: str | None) -> OrderReport:
        """One order by either id; OrderNotFound only when the venue itself says it has none."""
        if not self._client.has.get("fetchOrder"):
            raise self._unsupported("fetchOrder")
        market = await self._connection.market(symbol)
        params = {}
        if venue_order_id is None:
            if client_order_id is None or not self._connection.profile.lookup_by_client_order_id:
                raise self._needs_venue_id("look up an order", client_order_id)
            params = {"clientOrderId": client_order_id}
        operation = f"fetch_order {symbol} {venue_order_id or client_order_id}"

        async def ask() -> OrderReport:
            raw = await self._client.fetch_order(venue_order_id, symbol, params)
            report = parse_order(raw, market, self._connection.clock.now())
            if venue_order_id is None and report.client_order_id not in {None, client_order_id}:
                raise ccxt.BadResponse("the answer is about another order")
            return report

        return await self._connection.ask(operation, ask, asked=Asked.LOOKUP, priority=Priority.ACCOUNT)

    async def look_up_stop(self, symbol: str, client_order_id: str | None, venue_order_id: str | None) -> OrderReport:
        """A stop by either of its ids; one that has triggered is the order that it became."""
        self._require_stops()
        market = await self._connection.market(symbol)
        params: dict[str, Any] = dict(ABOUT_STOPS)
        if client_order_id is not None:
            params["clientOrderId"] = client_order_id
        operation = f"fetch_order {symbol} stop {client_order_id or venue_order_id}"

        async def ask() -> tuple[OrderReport, str | None]:
            raw = await self._client.fetch_order(None if client_order_id else venue_order_id, symbol, params)
            return parse_stop(raw, market, self._connection.clock.now()), became(raw)

        report, order_id = await self._connection.ask(operation, ask, asked=Asked.LOOKUP, priority=Priority.ACCOUNT)
        if order_id is None:
            return report
        order = await self.look_up(symbol, None, order_id)
        return replace(
            order,
            order_type=report.order_type,
            client_order_id=report.client_order_id,
            trigger_price=report.trigger_price,
            reduce_only=True,
        )

    async def _create_batch(self, batch: Batch) -> Mapping[int, Result]:
        """The results of one request, by the places of their orders."""
        with part_of_call():
            try:
                if len(batch) > 1:
                    return await self._send_batch(batch)
                [single] = batch
                return {single.place: await self.create(single.order)}
            except ExchangeError as error:
                # Of this request alone: it says nothing about those of the other batches, which may be at the venue.
                return {prepared.place: error for prepared in batch}

    async def _send_batch(self, batch: Batch) -> Mapping[int, Result]:
        orders = [prepared.order for prepared in batch]

        async def send() -> Mapping[int, Result]:
            self._expire(orders)
            try:
                raw = await self._client.create_orders([prepared.request for prepared in batch])
            except Exception as error:  # noqa: BLE001 - the batch failed as a whole; the table says what that means
                return self._failed_batch(batch, error)
            return self._receipts(batch, raw)

        ids = " ".join(order.client_order_id for order in orders)
        return await self._connection.ask(f"create_orders {ids}", send, asked=Asked.CREATE)

    def _receipts(self, batch: Batch, raw: Sequence[Mapping[str, Any]]) -> Mapping[int, Result]:
        """One result per order; answers are told apart by our ids, by their order where the venue leaves those out."""
        by_id = {entry["clientOrderId"]: entry for entry in raw if entry.get("clientOrderId")}
        in_order = raw if len(raw) == len(batch) and not by_id else []
        results: dict[int, Result] = {}
        for index, prepared in enumerate(batch):
            entry = by_id.get(prepared.order.client_order_id) or (in_order[index] if in_order else {})
            operation = f"create_orders {prepared.order.symbol} {prepared.order.client_order_id}"
            try:
                results[prepared.place] = self._receipt(entry, prepared.order, prepared.market, operation)
            except Exception as error:  # noqa: BLE001 - one unreadable receipt is one order of unknown fate
                results[prepared.place] = self._connection.explain(error, Asked.CREATE, operation)
        return results

    def _failed_batch(self, batch: Batch, error: Exception) -> Mapping[int, Result]:
        """One error per order: its own where the venue gave one for each, else that of the whole."""
        replies = read_items(str(error)) if isinstance(error, ccxt.BaseError) else []
        each = len(replies) == len(batch) and all(reply.code for reply in replies)
        return {
            prepared.place: self._connection.explain(
                self._rejection(replies[index]) if each else error,
                Asked.CREATE,
                f"create_orders {prepared.order.symbol} {prepared.order.client_order_id}",
                current_call(),
            )
            for index, prepared in enumerate(batch)
        }

    def _receipt(self, raw: Any, order: Order, market: Market, operation: str) -> OrderReport:
        """What the venue says of an order just sent. No id and no refusal means that nobody knows."""
        status = raw.get("status") if isinstance(raw, Mapping) else None
        if status == "rejected":
            raise self._rejection(read_item(raw.get("info")))
        if not isinstance(raw, Mapping) or not raw.get("id"):
            raise OutcomeUnknown(
                f"{self._connection.settings.exchange_id} {operation}: the answer names no order; look it up"
            )
        return parse_created(raw, order, market, self._connection.clock.now())

    def _rejection(self, reply: Reply) -> Exception:
        """The ccxt error for a refusal inside an answer, as ccxt itself would have raised it for the whole."""
        exact = (self._client.exceptions or {}).get("exact") or {}
        kind = exact.get(reply.code, ccxt.ExchangeError)
        return kind(json.dumps({"sCode": reply.code, "sMsg": reply.text}))

    async def _prepare(self, order: Order) -> tuple[Market, dict[str, Any]]:
        market = await self._ready(order.symbol)
        check_order(order, market)
        if order.is_stop:
            self._require_stops()
            return market, stop_request(order, market)
        return market, order_request(order, market, cost_only_buys=self._cost_only_buys)

    async def _ready(self, symbol: str) -> Market:
        """The market of an order; what fails before the order's own request means that the order was not sent."""
        try:
            return await self._connection.market(symbol)
        except (Rejected, AuthenticationFailed):
            raise
        except ExchangeError as error:
            raise NotSent(f"{symbol} was not sent: {error}", code=error.code) from None

    def _expire(self, orders: Sequence[Order]) -> None:
        """Called when it is the request's turn: refuses to send at a stale price, and lets the venue refuse it too."""
        connection = self._connection
        now, patience = connection.clock.now(), connection.settings.request_timeout
        late = next((order for order in orders if order.good_until is not None and order.good_until <= now), None)
        if late is not None:
            raise NotSent(f"{late.symbol} {late.client_order_id} was not sent: its time was over before its turn came")
        # By the venue's clock: the header is compared with it.
        current_call().expires_at = min(expires_at(order, now, patience) for order in orders) + connection.offset

    def _batches(self, prepared: Batch) -> list[Batch]:
        """The orders in as few requests as the venue allows; kinds of market apart where it does not mix them."""
        limits = self._batch_limits
        stops = [[each] for each in prepared if each.order.is_stop]
        if stops:
            return [*stops, *self._batches([each for each in prepared if not each.order.is_stop])]
        if self._connection.venue.mixed_batches:
            return _slices(prepared, min(limits.values()))
        kinds = sorted({each.market.kind for each in prepared})
        return [
            batch
            for kind in kinds
            for batch in _slices([each for each in prepared if each.market.kind is kind], limits[kind])
        ]

    def _require_stops(self) -> None:
        if not self._connection.profile.stop_orders:
            raise NotSupported(f"{self._connection.settings.exchange_id} has no stop orders that this desk can use")

    def _unsupported(self, method: str) -> NotSupported:
        return NotSupported(f"{self._connection.settings.exchange_id} has no {method}")

    def _needs_venue_id(self, purpose: str, client_order_id: str | None) -> NotSupported:
        return NotSupported(
            f"{self._connection.settings.exchange_id} cannot {purpose} by client order id ({client_order_id}); "
            f"its venue order id is needed"
        )


def _slices(entries: Batch, size: int) -> list[Batch]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]
