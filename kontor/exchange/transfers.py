"""Ledger entries of ccxt as Transfer: what came to an account or left it by anything but trading."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

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
