"""Orders sent over a WebSocket: the same venue, the same limits, the same answers as over REST."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kontor.paper import rest_trade
from kontor.paper.model import VenueError
from kontor.paper.rate_limits import AMEND, CANCEL, PLACE, Limit, order_charges
from kontor.paper.rendering import instrument_code
from kontor.paper.replies import Call, Refusal, Reply
from kontor.paper.rest import refuse_while_closed
from kontor.paper.services import Services, is_expired, micros


@dataclass(frozen=True, slots=True)
class Operation:
    """What an op does, what it counts against, and whether its args are many orders."""

    answer: Callable[[Call], Reply]
    limit: Limit
    many: bool


OPERATIONS = {
    "order": Operation(rest_trade.place, PLACE, many=False),
    "batch-orders": Operation(rest_trade.place_batch, PLACE, many=True),
    "cancel-order": Operation(rest_trade.cancel, CANCEL, many=False),
    "batch-cancel-orders": Operation(rest_trade.cancel_batch, CANCEL, many=True),
    "amend-order": Operation(rest_trade.amend, AMEND, many=False),
}


class OrderDesk:
    """Carries out the order operations of WebSocket clients."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._inst_ids = {instrument_code(item): item.inst_id for item in services.venue.instruments()}

    async def answer(self, message: Mapping[str, Any], account: str | None) -> dict[str, Any]:
        """The answer to one operation, refusals included."""
        began = time.time()
        envelope = {"id": str(message.get("id") or ""), "op": message["op"]}
        try:
            reply = await self._reply(message, account)
        except (Refusal, VenueError) as refusal:
            reply = Reply([], refusal.code, refusal.message)
        return {
            **envelope,
            "code": reply.code,
            "data": reply.data,
            # Over a socket OKX leaves the summary of failed orders to their own lines.
            "msg": "" if reply.data else reply.msg,
            "inTime": micros(began),
            "outTime": micros(time.time()),
        }

    async def _reply(self, message: Mapping[str, Any], account: str | None) -> Reply:
        if account is None:
            raise Refusal("60011")
        refuse_while_closed(self._services.venue)
        args = message.get("args")
        if not isinstance(args, list) or not args or not all(isinstance(arg, dict) for arg in args):
            raise Refusal("60013", "Invalid args")
        services, operation = self._services, OPERATIONS[message["op"]]
        orders = [self._named(arg) for arg in args]
        call = Call(
            venue=services.venue,
            account=account,
            body=orders if operation.many else orders[0],
            expired=is_expired(str(message.get("expTime") or ""), services.clocks_ms()),
        )
        services.limits.take(order_charges(operation.limit, account, rest_trade.orders_of(call)))
        reply = operation.answer(call)
        await services.commits.done()
        if operation.limit is PLACE:
            services.stats.accepted_orders(reply.data)
        return reply

    def _named(self, arg: dict[str, Any]) -> dict[str, Any]:
        """The order with its instrument's id: WebSocket clients send the number that stands for it."""
        code = arg.get("instIdCode")
        if code is None or arg.get("instId"):
            return arg
        return {**arg, "instId": self._inst_ids.get(int(code) if str(code).isdigit() else -1, "")}
