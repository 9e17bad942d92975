"""The endpoints that place, cancel, change and look up orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kontor.paper import rendering, rendering_orders
from kontor.paper.model import Fill, Order, OrderAck
from kontor.paper.paging import page
from kontor.paper.replies import MESSAGES, Call, Refusal, Reply, batch, missing

MAX_BATCH = 20
Body = Mapping[str, Any]


def place(call: Call) -> Reply:
    """Place one order."""
    return _one(call, call.venue.place_order)


def place_batch(call: Call) -> Reply:
    """Place up to 20 orders; each has its own answer."""
    return _many(call, call.venue.place_orders)


def cancel(call: Call) -> Reply:
    """Cancel one order."""
    return _one(call, call.venue.cancel_order, expires=False)


def cancel_batch(call: Call) -> Reply:
    """Cancel up to 20 orders; each has its own answer."""
    return _many(call, call.venue.cancel_orders, expires=False)


def amend(call: Call) -> Reply:
    """Change the price or the quantity of a resting order."""
    return _one(call, call.venue.amend_order)


def cancel_all_after(call: Call) -> Reply:
    """Arm, prolong or disarm the dead man's switch."""
    body = call.body if isinstance(call.body, dict) else {}
    text = str(body.get("timeOut", ""))
    if not text:
        raise missing("timeOut")
    try:
        seconds = int(float(text))
    except ValueError:
        raise Refusal("51000", "Parameter timeOut error") from None
    armed = call.venue.cancel_all_after(call.account, seconds)
    row = {"triggerTime": str(armed.trigger_time), "tag": str(body.get("tag", "")), "ts": rendering.moment(armed.ts)}
    return Reply([row])


def details(call: Call) -> Reply:
    """One order, by either id."""
    inst_id = call.required("instId")
    order_id, client_id = call.params.get("ordId") or None, call.params.get("clOrdId") or None
    if order_id is None and client_id is None:
        raise Refusal("51003")
    return Reply([rendering_orders.order(call.venue.order(call.account, inst_id, order_id, client_id))])


def pending(call: Call) -> Reply:
    """Resting orders."""
    rows = call.venue.orders_pending(call.account, *_filters(call, "instType", "instId", "ordType"))
    state = call.params.get("state")
    return _orders(call, [row for row in rows if not state or row.state == state])


def history(call: Call) -> Reply:
    """Finished orders of a type."""
    call.required("instType")
    return _orders(
        call, call.venue.orders_history(call.account, *_filters(call, "instType", "instId", "ordType", "state"))
    )


def fills(call: Call) -> Reply:
    """Fills, newest first."""
    rows = call.venue.fills(call.account, *_filters(call, "instType", "instId", "ordId"))
    chosen = page(rows, call.params, number=_bill_id, at_ms=lambda item: item.ts)
    return Reply([rendering_orders.fill(item) for item in chosen])


def fills_history(call: Call) -> Reply:
    """Fills of a type, newest first."""
    call.required("instType")
    return fills(call)


def orders_of(call: Call) -> list[Body]:
    """The orders a request is about, however many: what its rate limit counts."""
    if isinstance(call.body, list):
        return [item for item in call.body if isinstance(item, dict)]
    return [call.body] if isinstance(call.body, dict) else []


def _one(call: Call, act: Callable[[str, Body], OrderAck], *, expires: bool = True) -> Reply:
    body = call.body
    if not isinstance(body, dict) or not body:
        raise Refusal("50000")
    # A cancel is wanted however late it comes: OKX looks at expTime on placing and amending only.
    if expires and call.expired:
        return batch([_too_late(call, body)], single=True)
    return batch([rendering_orders.order_ack(act(call.account, body))], single=True)


def _many(call: Call, act: Callable[[str, Sequence[Body]], list[OrderAck]], *, expires: bool = True) -> Reply:
    bodies = call.body
    if not isinstance(bodies, list) or not bodies:
        raise Refusal("50000")
    if len(bodies) > MAX_BATCH:
        raise Refusal("51111", f"Maximum {MAX_BATCH} orders can be placed in bulk.")
    if not all(isinstance(body, dict) for body in bodies):
        raise Refusal("50002")
    if expires and call.expired:
        return batch([_too_late(call, body) for body in bodies])
    return batch([rendering_orders.order_ack(ack) for ack in act(call.account, bodies)])


def _too_late(call: Call, body: Body) -> rendering.Json:
    return {
        "clOrdId": str(body.get("clOrdId") or ""),
        "ordId": "",
        "sCode": "50036",
        "sMsg": MESSAGES["50036"],
        "tag": str(body.get("tag") or ""),
        "ts": rendering.moment(call.venue.now()),
    }


def _orders(call: Call, rows: list[Order]) -> Reply:
    chosen = page(rows, call.params, number=_order_id, at_ms=lambda item: item.c_time)
    return Reply([rendering_orders.order(item) for item in chosen])


def _filters(call: Call, *names: str) -> list[str | None]:
    return [call.params.get(name) or None for name in names]


def _order_id(item: Order) -> str:
    return item.ord_id


def _bill_id(item: Fill) -> str:
    return item.bill_id
