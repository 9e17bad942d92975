"""The sections of kontor.yaml about trading by rule: strategies with their exits, and units of risk."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from kontor.config.base import Settings

Percent = Annotated[Decimal, Field(gt=0, le=100)]
Hours = Annotated[Decimal, Field(gt=0)]
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
# Names that mean something else where strategies are told apart.
_TAKEN = frozenset({"manual", "external"})


class ExitSettings(Settings):
    """When check-exits closes a strategy's position, whatever the strategy says; a rule left out does not apply."""

    # Distances in percent of the mean entry price, against us and for us.
    stop_loss_percent: Percent | None = None
    take_profit_percent: Annotated[Decimal, Field(gt=0)] | None = None
    # Distance in percent from the best price since the position was opened.
    trailing_percent: Percent | None = None
    max_hours: Hours | None = None


class StrategySettings(Settings):
    """One strategy at work: which code, on what, with how much."""

    # A name (`sma_cross`, or one that an installed package registers) or `module:Class` for a file of your own.
    use: Annotated[str, Field(min_length=1)]
    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    parameters: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True
    # Its part of the account's total, and how often that part its positions and pending entries may be worth.
    capital_share_percent: Percent = Decimal(100)
    max_leverage: Annotated[Decimal, Field(gt=0, le=125)] = Decimal(1)
    # Takes its units from the larger, priority risk margin.
    priority: bool = False
    timeout_seconds: Annotated[float, Field(gt=0, le=20)] = 5.0
    # A process of its own can be ended when it hangs and leaves the desk's processor alone; a thread cannot.
    isolation: Literal["process", "thread"] = "process"
    # More orders and cancels than this in one run are taken for a mistake, and none of them is placed.
    max_orders_per_run: Annotated[int, Field(ge=1, le=1000)] = 20
    exits: ExitSettings = ExitSettings()

    @field_validator("symbols")
    @classmethod
    def _named_once(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(symbols)) < len(symbols):
            raise ValueError("names a symbol twice")
        return symbols


class UnitSettings(Settings):
    """Risk in units: how large the next position may be, and how much all of them together may lose."""

    # The value of the next unit as a share of the total capital, by how many units are open; none after the last.
    value_factors: Annotated[tuple[Annotated[Decimal, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
        Decimal("0.02"),
        Decimal("0.02"),
        Decimal("0.015"),
        Decimal("0.01"),
        Decimal("0.01"),
    )
    # Shares of the total capital that open units may risk together; strategies with priority may use the second.
    risk_factor: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.05")
    priority_risk_factor: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.08")
    max_positions: PositiveInt | None = None

    @model_validator(mode="after")
    def _priority_is_more(self) -> "UnitSettings":
        if self.priority_risk_factor < self.risk_factor:
            raise ValueError("priority_risk_factor must not be below risk_factor")
        return self


def check_strategies(strategies: Mapping[str, StrategySettings]) -> Mapping[str, StrategySettings]:
    """The strategies, if their names can be used and the enabled ones share at most the whole capital."""
    for name in strategies:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(f"{name!r} is no name for a strategy: use a-z, 0-9, - and _, a letter first")
    shared = sum((each.capital_share_percent for each in strategies.values() if each.enabled), Decimal(0))
    if shared > 100:  # noqa: PLR2004 - percent
        raise ValueError(
            f"enabled strategies share {shared} percent of the capital; lower their capital_share_percent to 100 in all"
        )
    return strategies
