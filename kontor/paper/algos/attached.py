"""Exits attached to an order: checked when it is placed, and when it is amended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kontor.paper.algos.exits import Exit, is_zero, named, read_exits
from kontor.paper.intake import client_id, flag, parameter_error, text
from kontor.paper.model import Instrument, VenueError

MAX_ATTACHED = 10
# Of exits attached to an order, by (kind, the order's side).
_WRONG_SIDE_ATTACHED = {
    ("tp", "buy"): ("51046", "The take profit trigger price must be higher than the order price"),
    ("sl", "buy"): ("51047", "The stop loss trigger price must be lower than the order price"),
    ("tp", "sell"): ("51048", "The take profit trigger price must be lower than the order price"),
    ("sl", "sell"): ("51049", "The stop loss trigger price must be higher than the order price"),
}


def read_attached(
    body: Mapping[str, Any], instrument: Instrument, side: str, px: Decimal | None, last: Decimal | None
) -> list[dict[str, str]]:
    """The exits attached to an order, as text for storing: OKX's own names, and the id an amendment may use."""
    given = body.get("attachAlgoOrds") or []
    if not isinstance(given, list) or len(given) > MAX_ATTACHED or not all(isinstance(each, dict) for each in given):
        raise parameter_error("attachAlgoOrds")
    if given and not instrument.is_swap:
        raise parameter_error("attachAlgoOrds")
    if given and flag(body, "reduceOnly"):
        raise VenueError(
            "51333", "Close position order in hedge-mode or reduce-only order in one-way mode cannot attach TPSL"
        )
    found = []
    for each in given:
        exits = list(read_exits(each, instrument))
        if not exits:
            raise parameter_error("slTriggerPx")
        for one in exits:
            _check_attached_side(one, side, px or last)
        found.append(attached_row(client_id(each, "attachAlgoClOrdId"), exits))
    return found


def attached_row(client: str, exits: Iterable[Exit]) -> dict[str, str]:
    """Attached exits in OKX's words."""
    row = {"attachAlgoClOrdId": client}
    for one in exits:
        row |= {
            f"{one.kind}TriggerPx": f"{one.trigger_px:f}",
            f"{one.kind}TriggerPxType": one.trigger_px_type,
            f"{one.kind}OrdPx": f"{one.ord_px:f}",
        }
    return row


def _check_attached_side(one: Exit, side: str, reference: Decimal | None) -> None:
    if reference is None:
        return
    above = (one.kind == "tp") == (side == "buy")
    if (one.trigger_px <= reference) if above else (one.trigger_px >= reference):
        raise VenueError(*_WRONG_SIDE_ATTACHED[one.kind, side])


def amend_attached(body: Mapping[str, Any], stored: str, instrument: Instrument, side: str, px: Decimal | None) -> str:
    """The exits of a resting order after an amendment: `attachAlgoOrds` names them by either id, and the fields may
    also stand in the body itself when there is only one. A trigger price of 0 takes a stop loss or take profit away.
    """
    rows = json.loads(stored or "[]")
    changes = body.get("attachAlgoOrds") or []
    if not isinstance(changes, list) or not all(isinstance(each, dict) for each in changes):
        raise parameter_error("attachAlgoOrds")
    if any(text(body, name) for name in ("newSlTriggerPx", "newTpTriggerPx")) and len(rows) == 1:
        changes = [*changes, {**body, "attachAlgoId": rows[0]["attachAlgoId"]}]
    for change in changes:
        row = next((each for each in rows if _is_meant(each, change)), None)
        if row is None:
            raise VenueError(
                "51527", "Order modification failed. At least 1 of the attached TP/SL orders does not exist."
            )
        _amend_row(row, change, instrument, side, px)
    rows = [row for row in rows if row.get("slTriggerPx") or row.get("tpTriggerPx")]
    return json.dumps(rows) if rows else ""


def _is_meant(row: Mapping[str, str], change: Mapping[str, Any]) -> bool:
    by_id, by_client = text(change, "attachAlgoId"), text(change, "attachAlgoClOrdId")
    return row["attachAlgoId"] == by_id if by_id else bool(by_client) and row["attachAlgoClOrdId"] == by_client


def _amend_row(
    row: dict[str, str], change: Mapping[str, Any], instrument: Instrument, side: str, px: Decimal | None
) -> None:
    for kind in ("sl", "tp"):
        names = {what: named("new", f"{kind}{what}") for what in ("TriggerPx", "OrdPx", "TriggerPxType")}
        given = {what: text(change, name) for what, name in names.items()}
        if not given["TriggerPx"] and not given["OrdPx"]:
            continue
        if is_zero(given["TriggerPx"]) or is_zero(given["OrdPx"]):
            for what in names:
                row.pop(f"{kind}{what}", None)
            continue
        whole = {name: given[what] or row.get(f"{kind}{what}", "") for what, name in names.items()}
        (exit_,) = read_exits(whole, instrument, "new")
        _check_attached_side(exit_, side, px)
        row |= attached_row(row["attachAlgoClOrdId"], [exit_])
