"""Watching the portfolio's limits: what breaks one halts trading, until a person resumes it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kontor.config import KontorConfig
from kontor.domain.intent import RiskView
from kontor.domain.order import OrderState
from kontor.domain.outside import Transfer
from kontor.domain.portfolio import Breach, PortfolioLimits, RiskMarks, breaches, equity_of, marked, value_of
from kontor.errors import KontorError, NotSupported
from kontor.execution.halt import halt, halted
from kontor.execution.parts import Parts
from kontor.execution.view import RISK_MARKS, load_view
from kontor.ports import DeskState

log = logging.getLogger(__name__)

MARKS = RISK_MARKS
ORDER_RATE = "max_orders_per_minute"
# Transfers are asked for this far back: what was counted once is not counted again.
_BACK = timedelta(hours=26)
SETTLE_SECONDS = 2.0
_TRIES = 3


@dataclass(slots=True)
class RiskReport:
    """The account's figures in its capital currency, what is broken, and whether trading is halted now."""

    equity: Decimal
    peak: Decimal
    day_start: Decimal
    exposure: Decimal
    breaches: list[Breach] = field(default_factory=list)
    # This look halted trading; `halted` may also be somebody else's doing.
    halted_now: bool = False
    halted: str | None = None


async def monitor_risk(parts: Parts) -> RiskReport:
    """Hold equity and exposure against the limits, and halt trading on a breach.

    Raises KontorError when the account cannot be judged: no balance yet, or a coin without a price.
    """
    look = await _look(parts)
    if look.breaches:
        # A transfer can show in the balance before it is listed: what is gone a moment later is no loss.
        await parts.clock.sleep(SETTLE_SECONDS)
        look = await _look(parts)
    await parts.store.account.save_equity(parts.account, look.equity, parts.clock.now())
    await parts.store.desk.set_attribute(parts.account, MARKS, look.marks.to_json(), parts.clock.now())
    marks, found = look.marks, [*look.breaches, *await _order_rate(parts)]
    report = RiskReport(look.equity, marks.peak, marks.day_start, look.exposure, found)
    before = await halted(parts.store.desk, parts.account)
    if found and before is None:
        reason = "; ".join(breach.sentence for breach in found)
        await halt(parts.store.desk, parts.account, reason, actor="monitor-risk", at=parts.clock.now())
        report.halted_now, report.halted = True, reason
    elif before is not None:
        report.halted = before.reason
    return report


def limits_of(config: KontorConfig) -> PortfolioLimits:
    """The portfolio's limits as kontor.yaml has them."""
    risk = config.risk
    return PortfolioLimits(
        risk.max_drawdown_percent,
        risk.max_daily_loss,
        risk.max_exposure,
        risk.max_position_value,
        risk.position_values,
    )


async def start_anew(state: DeskState, account: str, at: datetime) -> None:
    """Forget peak and day: a person resumed trading and accepts what is lost; losses count from here on."""
    await state.set_attribute(account, MARKS, None, at)


def held_values(view: RiskView) -> dict[str, Decimal]:
    """What is held, by symbol or coin, without sign, at the last price."""
    return {
        name: abs(quantity) * view.marks[name]
        for name, quantity in view.holdings.items()
        if quantity and name in view.marks
    }


@dataclass(frozen=True, slots=True)
class _Look:
    equity: Decimal
    exposure: Decimal
    marks: RiskMarks
    breaches: list[Breach]


async def _look(parts: Parts) -> _Look:
    """The account now; the balance is asked of the venue between two looks at its transfers, which must agree."""
    before, balance, transfers = await _transfers(parts), await parts.exchange.fetch_balance(), await _transfers(parts)
    for _ in range(_TRIES):
        if before == transfers:
            break
        before, balance, transfers = transfers, await parts.exchange.fetch_balance(), await _transfers(parts)
    await parts.store.account.save_balance(parts.account, balance)
    view = await load_view(parts, (), reduces=True)
    equity = equity_of(balance, view.marks)
    if isinstance(equity, str):
        raise KontorError(f"{equity} has no price, so drawdown and daily loss cannot be judged; refresh the tickers")
    known = await parts.store.desk.attribute(parts.account, MARKS)
    marks_before = RiskMarks.from_json(known.value) if known and known.value else None
    zone = ZoneInfo(parts.config.risk.trading_day_zone)
    valued = {each.name: value_of(each, balance.currency, view.marks) for each in transfers}
    moved = {name: value for name, value in valued.items() if value is not None}
    marks = marked(marks_before, equity, parts.clock.now(), zone, moved)
    values = held_values(view)
    found = list(breaches(limits_of(parts.config), marks, equity, values))
    return _Look(equity, sum(values.values(), Decimal(0)), marks, found)


async def _transfers(parts: Parts) -> Sequence[Transfer]:
    """Transfers of the last day; none at a venue that does not list them."""
    try:
        return list(await parts.exchange.fetch_transfers(since=parts.clock.now() - _BACK))
    except NotSupported:
        return []


async def _order_rate(parts: Parts) -> list[Breach]:
    """The gate refused orders for their rate within the last minute: something floods, and must be looked at."""
    limit = parts.config.risk.max_orders_per_minute
    if limit is None:
        return []
    since = parts.clock.now() - timedelta(minutes=1)
    denied = await parts.store.orders.find(parts.account, states={OrderState.DENIED}, since=since)
    count = sum((order.reason or "").startswith(ORDER_RATE) for order in denied)
    if not count:
        return []
    text = f"{count} orders were denied within a minute, because more than {limit} a minute were wanted"
    return [Breach(ORDER_RATE, Decimal(limit), Decimal(limit + count), text)]
