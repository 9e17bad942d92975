"""Watching the portfolio's limits: what breaks one halts trading, until a person resumes it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kontor.capital import RISK_MARKS, note_moves
from kontor.config import KontorConfig
from kontor.domain.intent import RiskView
from kontor.domain.order import OrderState
from kontor.domain.portfolio import Breach, PortfolioLimits, breaches, marked
from kontor.execution.cancel import cancel_entries
from kontor.execution.halt import Halt, halt, halted
from kontor.execution.parts import Parts
from kontor.ports import DeskState
from kontor.trading.valuing import Valuation, value_account

log = logging.getLogger(__name__)

MARKS = RISK_MARKS
ACTOR = "monitor-risk"
ORDER_RATE = "max_orders_per_minute"
SETTLE_SECONDS = 2.0


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
    # Entries whose cancel this look has asked for.
    canceled: list[str] = field(default_factory=list)
    # Coins that are held and have never had a price: they count nothing.
    unpriced: list[str] = field(default_factory=list)
    # Why drawdown and the day's loss could not be told; the gate takes no new risk when this lasts.
    unjudged: str | None = None


async def monitor_risk(parts: Parts) -> RiskReport:
    """Hold equity and exposure against the limits; a breach halts trading and cancels what could still take risk.

    Raises KontorError when the account cannot be looked at. Cancels of a halt in force are asked for before that, again
    with every look: an order may come to light that nobody knew of.
    """
    canceled = await cancel_while_halted(parts)
    look = await _look(parts)
    if look.breaches:
        # A transfer can show in the balance before it is listed: what is gone a moment later is no loss.
        await parts.clock.sleep(SETTLE_SECONDS)
        look = await _look(parts)
    report = look.report
    report.breaches += await _order_rate(parts)
    report.canceled = canceled
    now = parts.clock.now()
    await parts.store.account.save_equity(parts.account, report.equity, now)
    if report.unjudged is None:
        await parts.store.desk.set_attribute(parts.account, MARKS, look.marks, now)
        await note_moves(parts.store, parts.account, report.equity, look.moved, now)
    await _halt_on_breach(parts, report)
    return report


async def cancel_while_halted(parts: Parts) -> list[str]:
    """Ask for cancels of all entries while a halt in force wants them gone; the names of those newly asked for."""
    known = await halted(parts.store.desk, parts.account)
    if known is None or not known.cancels:
        return []
    return [order.client_order_id for order in await cancel_entries(parts, actor=f"halt by {known.actor}")]


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


async def _halt_on_breach(parts: Parts, report: RiskReport) -> None:
    before: Halt | None = await halted(parts.store.desk, parts.account)
    report.halted = before.reason if before is not None else None
    if not report.breaches:
        return
    reason = "; ".join(breach.sentence for breach in report.breaches)
    now = parts.clock.now()
    found = await halt(parts.store.desk, parts.account, reason, actor=ACTOR, at=now, cancels=True)
    report.halted = found.reason
    report.halted_now = before is None or before.ends_itself
    report.canceled += await cancel_while_halted(parts)


@dataclass(frozen=True, slots=True)
class _Look:
    report: RiskReport
    marks: dict[str, object]
    moved: Mapping[str, Decimal]

    @property
    def breaches(self) -> list[Breach]:
        return self.report.breaches


async def _look(parts: Parts) -> _Look:
    worth = await value_account(parts)
    limits, equity = limits_of(parts.config), worth.equity.total
    zone = ZoneInfo(parts.config.risk.trading_day_zone)
    marks = marked(worth.before, equity, parts.clock.now(), zone, worth.moved)
    values = held_values(worth.view)
    unjudged = _unjudged(limits, worth)
    report = RiskReport(
        equity,
        marks.peak,
        marks.day_start,
        sum(values.values(), Decimal(0)),
        breaches=list(breaches(limits if unjudged is None else limits.without_losses(), marks, equity, values)),
        unpriced=sorted(worth.equity.unpriced),
        unjudged=unjudged,
    )
    if worth.equity.unpriced or worth.old:
        log.warning(
            "coins without a price account=%s counted_nothing=%s at_an_old_price=%s",
            parts.account,
            ",".join(report.unpriced),
            ",".join(sorted(worth.old)),
        )
    return _Look(report, worth.marks(marks).to_json(), worth.moved)


def _unjudged(limits: PortfolioLimits, worth: Valuation) -> str | None:
    """Why losses cannot be told, where somebody limits them."""
    if not limits.limit_losses or not worth.is_guess:
        return None
    held = ", ".join(
        f"{name} (last worth {value:.2f}, at {worth.prices[name].at:%Y-%m-%d %H:%M} UTC)"
        for name, value in sorted(worth.old.items())
    )
    return (
        f"no price is to be had for {held}, so drawdown and the day's loss cannot be told; sell or withdraw it, or see"
        " why the venue has no price"
    )


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
