"""The portfolio's limits: drawdown, the day's loss, exposure; pure. Transfers move none of them.

A coin without a price is worth what it was last known to be worth, and nothing if nobody ever knew: neither its price
that is missing nor its price that comes back is a loss or a gain.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
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

    @property
    def limit_losses(self) -> bool:
        """Drawdown or the day's loss is limited."""
        return self.max_drawdown_percent is not None or self.max_daily_loss is not None

    def without_losses(self) -> Self:
        """The limits that need no equity."""
        return replace(self, max_drawdown_percent=None, max_daily_loss=None)


@dataclass(frozen=True, slots=True)
class CoinPrice:
    """What a coin was last worth in the capital currency, and when."""

    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Equity:
    """What an account is worth in its capital currency; `unpriced` coins are held and count nothing."""

    total: Decimal
    unpriced: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RiskMarks:
    """What losses are counted from: the highest equity, and the day's first. Transfers have moved both."""

    peak: Decimal
    day: str
    day_start: Decimal
    # Transfers that are contained already.
    transfers: frozenset[str] = frozenset()
    # The last known prices of what is held, and the coins that were held without one.
    prices: Mapping[str, CoinPrice] = field(default_factory=dict)
    unpriced: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """For the store, exact."""
        return {
            "peak": str(self.peak),
            "day": self.day,
            "day_start": str(self.day_start),
            "transfers": sorted(self.transfers),
            "prices": {name: [str(each.price), each.at.isoformat()] for name, each in sorted(self.prices.items())},
            "unpriced": sorted(self.unpriced),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        # Marks of an earlier version have no prices.
        stored = value.get("prices", {}).items()
        return cls(
            peak=Decimal(value["peak"]),
            day=value["day"],
            day_start=Decimal(value["day_start"]),
            transfers=frozenset(value["transfers"]),
            prices={name: CoinPrice(Decimal(price), datetime.fromisoformat(at)) for name, (price, at) in stored},
            unpriced=frozenset(value.get("unpriced", ())),
        )


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that is broken: its rule, the limit and the figure, and all that in one sentence."""

    rule: str
    limit: Decimal
    figure: Decimal
    sentence: str


def coins_of(balance: Balance) -> Mapping[str, Decimal]:
    """What is held beside the capital currency."""
    return {name: held.total for name, held in balance.currencies.items() if name != balance.currency and held.total}


def equity_of(balance: Balance, prices: Mapping[str, Decimal]) -> Equity:
    """What the account is worth in its capital currency, coins at their price."""
    coins = coins_of(balance)
    worth = sum((quantity * prices[name] for name, quantity in coins.items() if name in prices), _NOTHING)
    return Equity(balance.total + worth, frozenset(coins.keys() - prices.keys()))


def old_value(
    balance: Balance, prices: Mapping[str, CoinPrice], now: datetime, max_age: timedelta
) -> dict[str, Decimal]:
    """The coins whose last price is older than that, with their value at it."""
    return {
        name: quantity * prices[name].price
        for name, quantity in coins_of(balance).items()
        if name in prices and now - prices[name].at > max_age
    }


def newly_priced(before: RiskMarks | None, balance: Balance, prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The worth of coins that counted nothing at the last look, for want of a price, and have one now."""
    known = before.unpriced if before is not None else frozenset()
    coins = coins_of(balance)
    return {name: coins[name] * prices[name] for name in known & coins.keys() & prices.keys()}


def marked(
    before: RiskMarks | None,
    equity: Decimal,
    now: datetime,
    zone: tzinfo,
    transfers: Mapping[str, Decimal],
) -> RiskMarks:
    """The marks as of now; `transfers` are values in the capital currency, positive for money that came.

    At the first look there is nothing to count from: the transfers seen then are in the equity already. Prices stay
    those of the look before.
    """
    day = now.astimezone(zone).date().isoformat()
    if before is None:
        return RiskMarks(equity, day, equity, frozenset(transfers))
    moved = sum((value for name, value in transfers.items() if name not in before.transfers), _NOTHING)
    after = replace(
        before,
        peak=max(before.peak + moved, equity),
        day=day,
        day_start=before.day_start + moved,
        transfers=before.transfers | frozenset(transfers),
    )
    return after if before.day == day else replace(after, day_start=equity, transfers=frozenset(transfers))


def value_of(transfer: Transfer, currency: str, prices: Mapping[str, Decimal]) -> Decimal:
    """A transfer in the capital currency; a coin without a price moves nothing, as it counts nothing when held."""
    if transfer.currency == currency:
        return transfer.quantity
    return transfer.quantity * prices.get(transfer.currency, _NOTHING)


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
