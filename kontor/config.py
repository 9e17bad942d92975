"""The settings in kontor.yaml: what is traded, and within which limits. One sentence per mistake, with its place."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from kontor.domain.market import TIMEFRAMES
from kontor.errors import ConfigError

Money = Annotated[Decimal, Field(gt=0)]
Operator = Literal["smaller", "smaller_or_equal", "greater", "greater_or_equal", "equal"]


class Settings(BaseModel):
    """Base of all sections: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class OrderSettings(Settings):
    """How orders are sent."""

    # An order that could not be sent within this time expires instead of going out at a stale price.
    good_for_seconds: PositiveInt = 60
    lease_seconds: Annotated[int, Field(ge=3, le=120)] = 10
    request_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 10
    # On `kontor down`: cancel open orders, or leave them at the venue.
    cancel_on_stop: bool = False


class HistorySettings(Settings):
    """How long what grows is kept."""

    balances_days: PositiveInt = 90
    prefect_runs_days: PositiveInt = 3


class KontorConfig(Settings):
    """The whole of kontor.yaml; every key has a default, so an empty file is a valid one."""

    capital_currency: str = "USD"
    watchlist: WatchlistSettings = WatchlistSettings()
    candles: CandleSettings = CandleSettings()
    risk: RiskSettings = RiskSettings()
    orders: OrderSettings = OrderSettings()
    history: HistorySettings = HistorySettings()

    @property
    def good_for(self) -> timedelta:
        """How long an unsent order stays sendable."""
        return timedelta(seconds=self.orders.good_for_seconds)


def load_config(path: Path) -> KontorConfig:
    """The settings in `path`; raises ConfigError with every mistake, each naming file and key."""
    return parse_config(read_yaml(path), where=path.name)


def parse_config(data: Any, *, where: str) -> KontorConfig:
    """The settings in already-read YAML."""
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError("must hold keys and values, such as 'watchlist:'", where=where)
    try:
        return KontorConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error), where=where) from None


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; raises ConfigError when it is missing, unreadable or not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("there is no such file; start from the one in the repository", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise ConfigError(f"{problem}; mend the YAML there", where=f"{path.name}{line}") from None


def describe(error: ValidationError) -> str:
    """Pydantic's findings as one line: `key.path: what is wrong`, joined by semicolons."""
    return "; ".join(_one(finding["loc"], finding["type"], finding["msg"]) for finding in error.errors())


def _one(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    key = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in ".".join(map(str, loc))) or "(top)"
    if kind == "extra_forbidden":
        return f"{key} is not a known key; remove it or mend its spelling"
    return f"{key} {message[0].lower()}{message[1:]}".replace("value error, ", "")
