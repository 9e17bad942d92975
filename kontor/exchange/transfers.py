"""Ledger entries of ccxt: every one as Bill, and as Transfer what came or left by anything but trading."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kontor.domain.ledger import Bill, EntryKind
from kontor.domain.outside import Transfer
from kontor.exchange.numbers import decimal, moment

# What ccxt calls such entries, from venue to venue.
KINDS = frozenset({"transfer", "transaction", "deposit", "withdrawal"})


def parse_transfers(entries: Iterable[Mapping[str, Any]], since: datetime) -> list[Transfer]:
    """The transfers since then, oldest first, each once; raises KeyError when one cannot be named or measured."""
    found: dict[str, Transfer] = {}
    for raw in entries:
        if raw.get("type") not in KINDS:
            continue
        amount, at = decimal(raw.get("amount")), moment(raw.get("timestamp"))
        if not raw.get("id") or not raw.get("currency") or amount is None or at is None:
            raise KeyError(f"transfer without id, currency, amount or time: {sorted(raw)}")
        if at >= since and amount:
            # Venues disagree on who says which way the money went: the sign, or the direction.
            quantity = -abs(amount) if raw.get("direction") == "out" else amount
            found[str(raw["id"])] = Transfer(str(raw["id"]), str(raw["currency"]), quantity, at)
    return sorted(found.values(), key=lambda transfer: transfer.at)


def parse_bills(entries: Iterable[Mapping[str, Any]], kinds: Mapping[str, EntryKind], since: datetime) -> list[Bill]:
    """The movements since then, oldest first, each once; `kinds` by the venue's own types of rows."""
    found: dict[str, Bill] = {}
    for raw in entries:
        amount, at = decimal(raw.get("amount")), moment(raw.get("timestamp"))
        if not raw.get("id") or not raw.get("currency") or amount is None or at is None:
            raise KeyError(f"bill without id, currency, amount or time: {sorted(raw)}")
        if at >= since and amount:
            change = -abs(amount) if raw.get("direction") == "out" else amount
            bill_id = str(raw["id"])
            found[bill_id] = Bill(
                bill_id, _kind(raw, kinds), str(raw["currency"]), change, at, raw.get("symbol") or None
            )
    return sorted(found.values(), key=lambda bill: (bill.at, len(bill.bill_id), bill.bill_id))


def _kind(raw: Mapping[str, Any], kinds: Mapping[str, EntryKind]) -> EntryKind:
    info, word = raw.get("info"), raw.get("type")
    own = kinds.get(str(info.get("type"))) if isinstance(info, Mapping) else None
    if own is not None:
        return own
    if word in KINDS:
        return EntryKind.TRANSFER
    return EntryKind.TRADE if word == "trade" else EntryKind.OTHER
