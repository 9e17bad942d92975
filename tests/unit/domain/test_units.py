"""Units and risk capital, by the notebook's formulas."""

from decimal import Decimal

import pytest

from kontor.domain.units import OpenUnit, UnitRules, dca_levels, figures, risk_of

D = Decimal
RULES = UnitRules((D("0.03"), D("0.02"), D("0.01")), D("0.1"), D("0.15"))


def units(*risks: int) -> list[OpenUnit]:
    return [OpenUnit("one", f"S{n}", D(100), D(risk)) for n, risk in enumerate(risks)]


def test_the_next_unit_is_the_factor_of_the_open_ones_times_the_total() -> None:
    """Behaviour 15: next_unit_value = unit_value_factors[open_units] * total_capital."""
    values = [figures(RULES, D(10_000), units(*[0] * n)).next_unit_value for n in range(4)]
    assert values == [300, 200, 100, 0]
    assert figures(RULES, D(10_000), units(0, 0)).max_unit_value == 300


def test_free_risk_margins_are_shares_of_the_total_less_what_units_risk() -> None:
    """Behaviour 15: total_capital * factor - total_unit_risk, and the same with the priority factor."""
    found = figures(RULES, D(10_000), units(300, 500))
    assert (found.unit_risk, found.free_risk_margin, found.free_risk_margin_priority) == (800, 200, 700)
    assert (found.margin(priority=False), found.margin(priority=True)) == (200, 700)


def test_max_positions_ends_the_units_earlier() -> None:
    rules = UnitRules(RULES.value_factors, RULES.risk_factor, RULES.priority_risk_factor, 1)
    assert figures(rules, D(10_000), units(1)).next_unit_value == 0


def test_without_a_stop_everything_is_at_risk() -> None:
    assert (risk_of(D(200), D(5)), risk_of(D(200), None)) == (10, 200)


def test_dca_weights_become_shares_nearest_level_first() -> None:
    levels = dca_levels([D(2), D(0), D(1)], [D(2), D(1), D(1)])
    assert [(each.distance_percent, each.weight) for each in levels] == [
        (0, D("0.25")),
        (1, D("0.25")),
        (2, D("0.5")),
    ]
    with pytest.raises(ValueError, match="2 distances and 1 weights"):
        dca_levels([D(1), D(2)], [D(1)])
