"""Units: how large the next position may be, and how much of the capital open ones risk."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class UnitRules:
    """Shares of the total capital: of the next unit by how many are open, and of what all of them may risk."""

    value_factors: tuple[Decimal, ...]
    risk_factor: Decimal
    priority_risk_factor: Decimal
    max_positions: int | None = None

    @property
    def most(self) -> int:
        """How many units may be open."""
        return (
            len(self.value_factors) if self.max_positions is None else min(self.max_positions, len(self.value_factors))
        )


@dataclass(frozen=True, slots=True)
class OpenUnit:
    """One position with the entries that still wait for it; `risk` is what is lost when its stop is reached."""

    owner: str
    symbol: str
    value: Decimal
    risk: Decimal


@dataclass(frozen=True, slots=True)
class UnitFigures:
    """Units and risk capital of an account, in its capital currency."""

    total_capital: Decimal
    open_units: int
    unit_risk: Decimal
    next_unit_value: Decimal
    max_unit_value: Decimal
    free_risk_margin: Decimal
    free_risk_margin_priority: Decimal

    def margin(self, *, priority: bool) -> Decimal:
        """What another unit may risk."""
        return self.free_risk_margin_priority if priority else self.free_risk_margin

    def as_text(self) -> dict[str, str]:
        """The figures for a store attribute, exact."""
        names = self.__slots__
        return {name: str(getattr(self, name)) for name in names}


def figures(rules: UnitRules, total_capital: Decimal, units: Collection[OpenUnit]) -> UnitFigures:
    """The account's figures; once all units are open there is no next one, and its value is 0."""
    risk = sum((unit.risk for unit in units), _NOTHING)
    count = len(units)
    factor = rules.value_factors[count] if count < rules.most else _NOTHING
    return UnitFigures(
        total_capital=total_capital,
        open_units=count,
        unit_risk=risk,
        next_unit_value=factor * total_capital,
        max_unit_value=rules.value_factors[0] * total_capital,
        free_risk_margin=total_capital * rules.risk_factor - risk,
        free_risk_margin_priority=total_capital * rules.priority_risk_factor - risk,
    )


def risk_of(value: Decimal, stop_loss_percent: Decimal | None) -> Decimal:
    """What a holding of some value may lose down to its stop; all of it when it has none."""
    return value if stop_loss_percent is None else value * stop_loss_percent / 100


@dataclass(frozen=True, slots=True)
class DcaLevel:
    """One entry of a unit: how far beyond the first price, in percent, and its share of the unit's value."""

    distance_percent: Decimal
    weight: Decimal


def dca_levels(distances_percent: Sequence[Decimal], weights: Sequence[Decimal]) -> tuple[DcaLevel, ...]:
    """The entries of a unit, nearest first, weights scaled to 1."""
    if len(distances_percent) != len(weights):
        raise ValueError(f"{len(distances_percent)} distances and {len(weights)} weights; give one weight per distance")
    total = sum(weights, _NOTHING)
    pairs = sorted(zip(distances_percent, weights, strict=True))
    return tuple(DcaLevel(distance, weight / total) for distance, weight in pairs)
