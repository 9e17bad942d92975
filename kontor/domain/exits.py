"""When a position is closed by rule: stop loss, take profit, trailing stop, time stop. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from kontor.domain.strategy_position import StrategyPosition


@dataclass(frozen=True, slots=True)
class ExitRules:
    """Distances in percent of the mean entry, `trailing_percent` of the best price since; None does not apply."""

    stop_loss_percent: Decimal | None = None
    take_profit_percent: Decimal | None = None
    trailing_percent: Decimal | None = None
    max_age: timedelta | None = None

    @property
    def need_price(self) -> bool:
        """Some rule looks at the price."""
        return any((self.stop_loss_percent, self.take_profit_percent, self.trailing_percent))


def better(position: StrategyPosition, one: Decimal | None, other: Decimal) -> Decimal:
    """The better of two prices for whoever holds the position."""
    if one is None:
        return other
    return max(one, other) if position.quantity > 0 else min(one, other)


def exit_reason(
    position: StrategyPosition, rules: ExitRules, *, price: Decimal | None, best: Decimal | None, now: datetime
) -> str | None:
    """Why the position is to be closed now, with the figures; None while every rule holds."""
    sign = 1 if position.quantity > 0 else -1
    entry = position.entry_price
    if price is not None and entry > 0:
        gain = (price - entry) / entry * 100 * sign
        if rules.stop_loss_percent is not None and gain <= -rules.stop_loss_percent:
            return f"stop loss: {price} is {-gain:.2f} % against the entry {entry:f}, limit {rules.stop_loss_percent} %"
        if rules.take_profit_percent is not None and gain >= rules.take_profit_percent:
            return f"take profit: {price} is {gain:.2f} % above the entry {entry:f} for us"
        if rules.trailing_percent is not None and best is not None and best > 0:
            back = (best - price) / best * 100 * sign
            if back >= rules.trailing_percent:
                return f"trailing stop: {price} is {back:.2f} % back from the best price {best}"
    if rules.max_age is not None and position.opened_at is not None and now - position.opened_at >= rules.max_age:
        return f"time stop: open since {position.opened_at:%Y-%m-%d %H:%M} UTC"
    return None
