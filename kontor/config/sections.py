"""The sections of kontor.yaml: what is traded, within which limits, how orders are sent, how long things are kept."""

from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PositiveInt, field_validator

from kontor.config.base import Settings
from kontor.domain.market import TIMEFRAMES

Money = Annotated[Decimal, Field(gt=0)]
Operator = Literal["smaller", "smaller_or_equal", "greater", "greater_or_equal", "equal"]


class Condition(Settings):
    """One filter condition: the value at a dotted key, cast, compared with `value`."""

    value: int | float | str
    type: Operator
    value_type: Literal["float", "int", "str"] = "float"


class WatchlistSettings(Settings):
    """Which markets are watched: those that pass every condition of `filter`, without `restricted`."""

    filter: dict[str, Condition] = Field(default_factory=dict)
    restricted: tuple[str, ...] = ()
    # Empty: every kind the venue has.
    kinds: tuple[Literal["spot", "swap"], ...] = ()
    max_symbols: PositiveInt = 200


class CandleSettings(Settings):
    """Which candles update-candles keeps, and how many requests it runs at once."""

    timeframe: str = "1m"
    keep: Annotated[int, Field(ge=10, le=100_000)] = 1000
    fan_out: Annotated[int, Field(ge=1, le=100)] = 10

    @field_validator("timeframe")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TIMEFRAMES:
            raise ValueError(f"must be one of {', '.join(TIMEFRAMES)}")
        return value


class RiskSettings(Settings):
    """The pre-trade gate's limits in the capital currency; a limit left out does not apply."""

    max_order_value: Money | None = None
    max_position_value: Money | None = None
    max_exposure: Money | None = None
    max_open_orders: PositiveInt | None = None
    min_free_balance: Annotated[Decimal, Field(ge=0)] | None = None
    # A limit price may be this many percent worse than the last price.
    price_collar_percent: Money | None = Decimal(10)
    # Older prices than this are not traded on.
    max_ticker_age_seconds: PositiveInt = 120
    # Limits of single symbols, instead of max_position_value.
    position_values: dict[str, Money] = Field(default_factory=dict)
    # How many orders that take risk may be wanted within a minute.
    max_orders_per_minute: PositiveInt | None = None
    # A loss of so much from the highest equity, or within a trading day, halts trading until a person resumes it.
    max_drawdown_percent: Annotated[Decimal, Field(gt=0, le=100)] | None = None
    max_daily_loss: Money | None = None
    trading_day_zone: str = "UTC"

    @field_validator("trading_day_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a time zone such as UTC or Europe/Berlin") from None
        return value


class OrderSettings(Settings):
    """How orders are sent."""

    # An order that could not be sent within this time expires instead of going out at a stale price.
    good_for_seconds: PositiveInt = 60
    lease_seconds: Annotated[int, Field(ge=3, le=120)] = 10
    request_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 10
    # The venue cancels everything when it has not heard of us for so long; none: never. See docs/resilience.md.
    dead_mans_switch_seconds: Annotated[int, Field(ge=10, le=120)] | None = None
    # No new order while our clock and the venue's differ by more; none: not looked at.
    max_clock_drift_seconds: Annotated[float, Field(gt=0, le=60)] | None = 2.0
    # At the end of the desk (`kontor down`, Ctrl-C): cancel open orders but for stops, or leave them at the venue.
    cancel_on_stop: bool = False


class HistorySettings(Settings):
    """How long what grows is kept."""

    balances_days: PositiveInt = 90
    prefect_runs_days: PositiveInt = 3
