"""The portfolio's limits: drawdown, the day's loss, exposure; pure. Transfers move none of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any, Self

from kontor.domain.account import Balance
from kontor.domain.outside import Transfer

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class PortfolioLimits:
    """In the capital currency; None does not apply. `position_values` are by symbol, above `max_position_value`."""

    max_drawdown_percent: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_exposure: Decimal | None = None
    max_position_value: Decimal | None = None
    position_values: Mapping[str, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class RiskMarks:
    """What losses are counted from: the highest equity, and the day's first. Transfers have moved both."""

    peak: Decimal
    day: str
    day_start: Decimal
    # Transfers that are contained already.
    transfers: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """For the store, exact."""
        return {
            "peak": str(self.peak),
            "day": self.day,
            "day_start": str(self.day_start),
            "transfers": sorted(self.transfers),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        names = frozenset(value["transfers"])
        return cls(Decimal(value["peak"]), value["day"], Decimal(value["day_start"]), names)


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that is broken: its rule, the limit and the figure, and all that in one sentence."""

    rule: str
    limit: Decimal
    figure: Decimal
    sentence: str


def equity_of(balance: Balance, prices: Mapping[str, Decimal]) -> Decimal | str:
    """What the account is worth in its capital currency, coins at their last price; or the coin that has no price."""
    total = balance.total
    for name, held in balance.currencies.items():
        if name == balance.currency or not held.total:
            continue
        if name not in prices:
            return name
        total += held.total * prices[name]
    return total


def marked(
    before: RiskMarks | None,
    equity: Decimal,
    now: datetime,
    zone: tzinfo,
    transfers: Mapping[str, Decimal],
) -> RiskMarks:
    """The marks as of now; `transfers` are values in the capital currency, positive for money that came.

    At the first look there is nothing to count from: the transfers seen then are in the equity already.
    """
    day = now.astimezone(zone).date().isoformat()
    if before is None:
        return RiskMarks(equity, day, equity, frozenset(transfers))
    moved = sum((value for name, value in transfers.items() if name not in before.transfers), _NOTHING)
    after = RiskMarks(
        max(before.peak + moved, equity), day, before.day_start + moved, before.transfers | frozenset(transfers)
    )
    return after if before.day == day else replace(after, day_start=equity, transfers=frozenset(transfers))


def value_of(transfer: Transfer, currency: str, prices: Mapping[str, Decimal]) -> Decimal | None:
    """A transfer in the capital currency; None for a coin without a price."""
    if transfer.currency == currency:
        return transfer.quantity
    price = prices.get(transfer.currency)
    return None if price is None else transfer.quantity * price


def breaches(
    limits: PortfolioLimits, marks: RiskMarks, equity: Decimal, values: Mapping[str, Decimal]
) -> Collection[Breach]:
    """Every limit that is broken; `values` are what is held, by symbol, without sign."""
    found = [*_losses(limits, marks, equity)]
    total = sum(values.values(), _NOTHING)
    if limits.max_exposure is not None and total > limits.max_exposure:
        text = f"all positions together are worth {total:.2f}, above max_exposure {limits.max_exposure}"
        found.append(Breach("max_exposure", limits.max_exposure, total, text))
    for symbol, value in sorted(values.items()):
        limit = (limits.position_values or {}).get(symbol, limits.max_position_value)
        if limit is not None and value > limit:
            text = f"{symbol} is worth {value:.2f}, above its limit of {limit}"
            found.append(Breach("max_position_value", limit, value, text))
    return found


def _losses(limits: PortfolioLimits, marks: RiskMarks, equity: Decimal) -> Collection[Breach]:
    found = []
    drawdown = (marks.peak - equity) / marks.peak * 100 if marks.peak > 0 else _NOTHING
    limit = limits.max_drawdown_percent
    if limit is not None and drawdown >= limit:
        text = (
            f"equity {equity:.2f} is {drawdown:.2f} % below its peak {marks.peak:.2f}; max_drawdown_percent is {limit}"
        )
        found.append(Breach("max_drawdown_percent", limit, drawdown, text))
    loss, limit = marks.day_start - equity, limits.max_daily_loss
    if limit is not None and loss >= limit:
        text = f"the day of {marks.day} has lost {loss:.2f} since {marks.day_start:.2f}; max_daily_loss is {limit}"
        found.append(Breach("max_daily_loss", limit, loss, text))
    return found
