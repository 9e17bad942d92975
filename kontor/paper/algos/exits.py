"""The two halves of a stop order, stop loss and take profit, as they come over the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kontor.paper.algos.model import MARKET
from kontor.paper.intake import in_ticks, parameter_error, positive, text
from kontor.paper.model import Instrument

PRICE_TYPES = frozenset({"last", "index", "mark"})


@dataclass(frozen=True, slots=True)
class Exit:
    """One half of a stop order: where it fires, by which price, and what it then asks for (-1: market)."""

    kind: str  # sl | tp
    trigger_px: Decimal
    trigger_px_type: str
    ord_px: Decimal


def read_exits(body: Mapping[str, Any], instrument: Instrument, prefix: str = "") -> Iterable[Exit]:
    """The stop loss and the take profit a body names, if any. `prefix` new turns slTriggerPx into newSlTriggerPx."""
    for kind in ("sl", "tp"):
        names = [named(prefix, f"{kind}{what}") for what in ("TriggerPx", "OrdPx", "TriggerPxType", "OrdKind")]
        trigger, order_px, by, order_kind = (text(body, name) for name in names)
        if not trigger and not order_px:
            continue
        if not trigger or not order_px:
            raise parameter_error(names[0] if not trigger else names[1])
        if order_kind not in {"", "condition"}:
            raise parameter_error(names[3])
        if by not in PRICE_TYPES | {""}:
            raise parameter_error(names[2])
        px = in_ticks(positive(trigger, names[0]), instrument, names[0])[0]
        yield Exit(kind, px, by or "last", order_price(order_px, instrument, names[1]))


def named(prefix: str, name: str) -> str:
    """The name of a field with a prefix: new and slTriggerPx make newSlTriggerPx."""
    return f"{prefix}{name[0].upper()}{name[1:]}" if prefix else name


def order_price(value: str, instrument: Instrument, name: str) -> Decimal:
    """The price of the order that is placed then; -1 is at market."""
    if value in {"-1", "-1.0"}:
        return MARKET
    return in_ticks(positive(value, name), instrument, name)[0]


def is_zero(value: str) -> bool:
    """Whether a price is given and is 0, OKX's word for taking away."""
    return bool(value) and not value.strip("0.")
