"""The account's capital as the store has it: one figure for every message, page and metric, the one that limits count.

monitor-risk notes it every 30 seconds; where it has not lately, it is the last balance at the last known prices.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from kontor.domain.account import Balance
from kontor.domain.capital import Beginning, Capital
from kontor.domain.portfolio import Equity, RiskMarks, coins_of, equity_of
from kontor.domain.snapshot import Snapshot
from kontor.ports import Store

# What losses are counted from, as monitor-risk keeps it.
RISK_MARKS = "risk_marks"
# What the account was worth when the desk began, and what was transferred since.
BEGINNING = "capital_beginning"
# An equity older than this is not the account's any more.
RECENT = timedelta(minutes=10)


async def capital_of(store: Store, account: str, now: datetime, zone: tzinfo | None = None) -> Capital | None:
    """What the account is worth; None before its first balance. With a `zone` also what the day is counted from."""
    balance = await store.account.balance(account)
    if balance is None:
        return None
    known = await load_marks(store, account)
    marks = known.value if known is not None else None
    newest = await store.account.equity_history(account, since=now - RECENT, points=1)
    if newest:
        worth, at = Equity(newest[-1].value, marks.unpriced if marks is not None else frozenset()), newest[-1].at
    else:
        worth, at = equity_of(balance, await _prices(store, account, balance, marks)), balance.at
    is_today = marks is not None and zone is not None and marks.day == now.astimezone(zone).date().isoformat()
    return Capital(
        balance.currency,
        worth.total,
        at,
        worth.unpriced,
        await beginning_of(store, account),
        marks.day_start if marks is not None and is_today else None,
    )


async def load_marks(store: Store, account: str) -> Snapshot[RiskMarks | None] | None:
    """What losses are counted from, as monitor-risk left it; a value of None: a person resumed, they begin anew."""
    stored = await store.desk.attribute(account, RISK_MARKS)
    if stored is None:
        return None
    return Snapshot(RiskMarks.from_json(stored.value) if stored.value else None, stored.at)


async def beginning_of(store: Store, account: str) -> Beginning | None:
    """What it began with; the first total above zero while monitor-risk has not looked yet."""
    stored = await store.desk.attribute(account, BEGINNING)
    if stored is not None:
        return Beginning.from_json(stored.value)
    initial = await store.account.initial_capital(account)
    return None if initial is None else Beginning(initial)


async def note_moves(store: Store, account: str, equity: Decimal, moves: Mapping[str, Decimal], now: datetime) -> None:
    """Count the transfers of a look of monitor-risk, each once by its name; the first look notes the beginning."""
    known = await store.desk.attribute(account, BEGINNING)
    if known is None:
        first = await _first(store, account, equity, now)
        if first is None:
            return
        # Transfers that are listed now are in it already.
        fresh = {**Beginning(first).seen(moves, now).to_json(), "moved": "0"}
        await store.desk.update_attribute(account, BEGINNING, lambda value: value or fresh, now)
        return

    def change(value: Any) -> dict[str, Any]:
        return Beginning.from_json(value).seen(moves, now).to_json()

    if not Beginning.from_json(known.value).has_seen(moves, now):
        await store.desk.update_attribute(account, BEGINNING, change, now)


async def _first(store: Store, account: str, equity: Decimal, now: datetime) -> Decimal | None:
    """What the account began with, coins included where the desk has just begun."""
    totals = await store.account.balance_history(account)
    if equity > 0 and (not totals or now - totals[0].at <= RECENT):
        return equity
    return await store.account.initial_capital(account)


async def _prices(store: Store, account: str, balance: Balance, marks: RiskMarks | None) -> dict[str, Decimal]:
    coins = coins_of(balance)
    known = {name: each.price for name, each in marks.prices.items()} if marks is not None else {}
    tickers = await store.market.tickers(account, [f"{name}/{balance.currency}" for name in coins])
    last = {name.partition("/")[0]: each.last for name, each in tickers.items() if each.last is not None}
    return known | last
