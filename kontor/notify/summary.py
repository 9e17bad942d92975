"""The daily summary: capital and its change, orders, fills, fees and realized P&L of the last 24 hours."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

from kontor.capital import capital_of
from kontor.config.alerts import DailySummary
from kontor.notify import news
from kontor.notify.told import Told
from kontor.notify.trades import plain
from kontor.ports import Alert, Store

_MANY = 100_000
_DAY = timedelta(days=1)


def is_due(settings: DailySummary, last: str, now: datetime) -> str | None:
    """The local date whose summary is due, when it was not told yet; the last one told is given."""
    local = now.astimezone(settings.zone)
    day = f"{local:%Y-%m-%d}"
    if not settings.enabled or day <= last or local.time() < settings.at:
        return None
    return day


async def summary_of(store: Store, account: str, now: datetime, told: Told, *, mode: str) -> Alert:
    """The summary of the 24 hours before `now`."""
    since = now - _DAY
    fields = await _capital(store, account, now)
    orders = await store.orders.find(account, since=since, limit=_MANY)
    states = Counter(str(order.state).lower().replace("_", " ") for order in orders)
    fields.append(("Orders", ", ".join(f"{count} {state}" for state, count in states.most_common()) or "none"))
    fills = await store.orders.fills(account, since=since, limit=_MANY)
    fields.append(("Fills", str(len(fills))))
    fees: dict[str, Decimal] = {}
    for fill in fills:
        if fill.fee and fill.fee_currency:
            fees[fill.fee_currency] = fees.get(fill.fee_currency, Decimal(0)) + fill.fee
    if fees:
        fields.append(("Fees", ", ".join(f"{plain(fee)} {currency}" for currency, fee in fees.items())))
    if told.realized:
        closed = ", ".join(f"{pnl:+,.2f} {currency}" for currency, pnl in told.realized.items())
        fields.append(("P&L of closed positions", closed))
    positions = await store.account.positions(account)
    fields.append(("Positions", str(len(positions.value)) if positions else "not known yet"))
    fields.append(("Mode", mode))
    return news.report("daily_summary", f"Daily summary {now:%Y-%m-%d}", account, now, fields)


async def _capital(store: Store, account: str, now: datetime) -> list[tuple[str, str]]:
    capital = await capital_of(store, account, now)
    if capital is None:
        return [("Capital", "not known yet")]
    fields = [("Capital", f"{capital.equity:,.2f} {capital.currency}")]
    history = await store.account.equity_history(account, since=now - _DAY, points=1000)
    if history:
        fields.append(("Change", capital.since(history[0].value, history[0].at).words(capital.currency)))
    return fields
