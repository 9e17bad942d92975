"""The strategies that ship: what each wants at a given picture of the market."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from kontor.config import parse_config
from kontor.domain.order import OrderType, Side
from kontor.domain.units import OpenUnit, figures
from kontor.strategies import Decision, StrategyOrder
from kontor.strategies.grid import Grid, GridParameters
from kontor.strategies.range_reversion import RangeReversion, RangeReversionParameters
from kontor.strategies.sma_cross import SmaCross, SmaCrossParameters
from tests.unit.strategies.breakout import Breakout, Parameters
from tests.unit.strategies.views import RULES, SPOT, SWAP, resting, symbol_view, view

D = Decimal
UP = [10.0] * 10 + [9.0] * 5 + [20.0]
DOWN = [10.0] * 10 + [11.0] * 5 + [1.0]


def told(orders: Sequence[StrategyOrder]) -> list[tuple[str, str, str | None]]:
    return [
        (str(o.intent.side), f"{o.intent.quantity:f}", None if o.intent.price is None else f"{o.intent.price:f}")
        for o in orders
    ]


def cross(**parameters: Any) -> SmaCross:
    return SmaCross(SmaCrossParameters(timeframe="1m", fast=2, slow=5, **parameters))


def test_a_cross_up_buys_an_even_share_and_a_cross_down_sells_it() -> None:
    decision = cross().decide(view(symbol_view(closes=UP), symbol_view(SPOT, closes=[10.0] * 12)))
    [order] = decision.orders
    assert (order.intent.symbol, order.intent.side, order.intent.order_type) == (SWAP, Side.BUY, OrderType.MARKET)
    assert order.intent.quantity == D(50)
    [order] = cross().decide(view(symbol_view(closes=DOWN, held="50"))).orders
    assert (order.intent.side, order.intent.quantity, order.intent.reduce_only) == (Side.SELL, D(50), True)


def test_without_a_crossing_nothing_is_wanted() -> None:
    assert cross().decide(view(symbol_view(closes=[10.0] * 12))) == Decision()
    assert cross().decide(view(symbol_view(closes=[*UP, 21.0, 22.0], held="1"))) == Decision()


def test_with_short_it_turns_around_on_a_swap_and_never_on_spot() -> None:
    swap = cross(short=True).decide(view(symbol_view(closes=DOWN, held="50")))
    assert told(swap.orders) == [("sell", "50", None), ("sell", "100", None)]
    assert [order.intent.reduce_only for order in swap.orders] == [True, False]
    spot = cross(short=True).decide(view(symbol_view(SPOT, closes=DOWN, held="50")))
    assert told(spot.orders) == [("sell", "50", None)]


def test_while_an_order_is_open_a_target_waits() -> None:
    """Its fill may be on its way: a second order would double the position."""
    open_order = resting("100", "50")
    assert cross().decide(view(symbol_view(closes=UP, orders=[open_order]))).orders == ()


def test_a_fast_average_slower_than_the_slow_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="fast must be below slow"):
        SmaCrossParameters(fast=30, slow=10)


def reversion(**parameters: Any) -> RangeReversion:
    return RangeReversion(RangeReversionParameters.model_validate(parameters))


def test_a_flat_range_is_covered_at_both_levels_in_dca_steps_worth_one_unit() -> None:
    """Unit value 10 % of 10,000, at most, over weights 1, 1, 2; risk is bounded by the stop."""
    decision = reversion().decide(view(symbol_view(bounds=("95", "105")), stop_loss_percent=D(5)))
    assert told(decision.orders) == [
        ("buy", "2.63", "95"),
        ("buy", "2.64", "94.5"),
        ("buy", "5.31", "94"),
        ("sell", "2.38", "105"),
        ("sell", "2.36", "105.5"),
        ("sell", "4.71", "106"),
    ]
    assert not any(order.intent.reduce_only for order in decision.orders)
    for side in ("buy", "sell"):
        worth = sum(o.intent.quantity * (o.intent.price or 0) for o in decision.orders if o.intent.side == side)
        assert D(990) < worth <= D(1000)


def test_a_unit_that_would_risk_more_than_the_margin_is_not_opened() -> None:
    """Without a stop the whole unit of 1000 is at risk, the free margin is 500; priority may use 800."""
    open_range = symbol_view(bounds=("95", "105"))
    assert reversion().decide(view(open_range)).orders == ()
    assert reversion().decide(view(open_range, priority=True, stop_loss_percent=D(81))).orders == ()
    assert reversion().decide(view(open_range, priority=True, stop_loss_percent=D(79))).orders != ()


def test_when_all_units_are_open_or_one_is_being_opened_no_other_is_wanted() -> None:
    taken = [OpenUnit("x", "A", D(1), D(0)), OpenUnit("x", "B", D(1), D(0))]
    full = figures(RULES, D(10_000), taken)
    assert full.next_unit_value == 0
    two = [symbol_view(bounds=("95", "105")), symbol_view("ETH/USD:USD", bounds=("95", "105"))]
    assert reversion().decide(view(*two, units=full, stop_loss_percent=D(1))).orders == ()
    one = reversion().decide(view(*two, stop_loss_percent=D(1)))
    assert {order.intent.symbol for order in one.orders} == {SWAP}


def test_after_the_first_entry_the_rest_waits_below_and_a_closing_order_at_the_other_level() -> None:
    first = reversion().decide(view(symbol_view(bounds=("95", "105")), stop_loss_percent=D(5)))
    rests = [
        resting(str(o.intent.price), str(o.intent.quantity), o.intent.side, o.leg)
        for o in first.orders
        if o.intent.price != 95
    ]
    held = symbol_view(price="95", held="2.63", entry="95", bounds=("90", "105"), orders=rests)
    second = reversion().decide(view(held, state=first.state, stop_loss_percent=D(5)))
    assert told(second.orders) == []
    assert {name.partition("@")[2] for name in second.cancels} == {"105", "105.5", "106"}
    # Once the other side's entries are gone the closing order rests; the plan stands though the range has moved.
    left = [order for order in rests if order.side is Side.BUY]
    held = symbol_view(price="95", held="2.63", entry="95", bounds=("90", "105"), orders=left)
    third = reversion().decide(view(held, state=second.state, stop_loss_percent=D(5)))
    assert told(third.orders) == [("sell", "2.63", "105")]
    assert third.orders[0].intent.reduce_only
    assert third.cancels == ()


def test_resting_entries_stay_while_the_range_stays_and_move_with_it() -> None:
    first = reversion(direction="long").decide(view(symbol_view(bounds=("95", "105")), stop_loss_percent=D(5)))
    rests = [resting(str(o.intent.price), str(o.intent.quantity), o.intent.side, o.leg) for o in first.orders]
    none_left = figures(RULES, D(9_000), [OpenUnit("test", SWAP, D(1000), D(50)), OpenUnit("x", "A", D(1), D(0))])
    same = symbol_view(bounds=("95", "105"), orders=rests)
    second = reversion(direction="long").decide(view(same, state=first.state, units=none_left, stop_loss_percent=D(5)))
    assert (second.orders, second.cancels) == ((), ())
    moved = symbol_view(bounds=("90", "105"), orders=rests)
    third = reversion(direction="long").decide(view(moved, state=second.state, units=none_left, stop_loss_percent=D(5)))
    assert len(third.cancels) == 3
    assert [price for _, _, price in told(third.orders)] == ["90", "89.6", "89.1"]


def test_entries_stay_when_the_range_moves_away_because_the_price_comes_near() -> None:
    """A level within half a percent is none: following the range would cancel each entry just before it fills."""
    first = reversion(direction="long").decide(view(symbol_view(bounds=("95", "105")), stop_loss_percent=D(5)))
    rests = [resting(str(o.intent.price), str(o.intent.quantity), o.intent.side, o.leg) for o in first.orders]
    near = symbol_view(price="95.4", bounds=("90", "105"), orders=rests)
    second = reversion(direction="long").decide(view(near, state=first.state, stop_loss_percent=D(5)))
    assert (second.orders, second.cancels) == ((), ())
    # A nearer level is followed as ever.
    nearer = symbol_view(price="95.9", bounds=("95.3", "105"), orders=rests)
    third = reversion(direction="long").decide(view(nearer, state=first.state, stop_loss_percent=D(5)))
    assert len(third.cancels) == 3


def test_every_dca_level_needs_a_weight() -> None:
    with pytest.raises(ValidationError, match="3 distances and 1 weights"):
        RangeReversionParameters(dca_weights=(D(1),))


def grid(**parameters: Any) -> Grid:
    given = {"lower": 90, "upper": 110, "lines": 11, "open_lines": 2, **parameters}
    return Grid(GridParameters.model_validate(given))


def test_a_grid_buys_below_the_price_and_sells_what_it_bought_one_line_higher() -> None:
    start = grid().decide(view(symbol_view(price="101")))
    assert told(start.orders) == [("buy", "10", "100"), ("buy", "10", "98")]
    held = symbol_view(price="99", held="10", orders=[resting("98", "10")])
    second = grid().decide(view(held, state=start.state))
    assert told(second.orders) == [("sell", "10", "102"), ("buy", "10", "96")]
    assert second.orders[0].intent.reduce_only
    assert second.cancels == ()
    # Sold again: the freed line is bought again when the price comes back.
    rests = [resting("98", "10"), resting("96", "10")]
    third = grid().decide(view(symbol_view(price="103", orders=rests), state=second.state))
    assert ("buy", "10", "102") in told(third.orders)


def test_a_grid_keeps_its_size_while_capital_moves() -> None:
    start = grid().decide(view(symbol_view(price="101")))
    richer = view(symbol_view(price="99", held="10", orders=[resting("98", "10")]), state=start.state)
    object.__setattr__(richer, "capital", D(20_000))
    assert {quantity for _, quantity, _ in told(grid().decide(richer).orders)} == {"10"}


def test_a_strategy_of_ones_own_is_thirty_lines_at_most() -> None:
    """The example in README and docs/strategies.md, as it stands there, and at work under the settings beside it."""
    source = Path(__file__).with_name("breakout.py").read_text()
    assert len(source.splitlines()) <= 30
    for page in ("README.md", "docs/strategies.md"):
        before, found, after = (Path(__file__).parents[3] / page).read_text().partition(f"```python\n{source}```\n")
        assert found, page
        assert "breakout.py" in before
        said = yaml.safe_load(after.partition("```yaml\n")[2].partition("```")[0])
        assert "mine" in said["strategies"], page
        mine = parse_config(said, where=page).strategies["mine"]
        assert mine.use == "breakout:Breakout"
        Breakout(Parameters.model_validate(mine.parameters))
    entering = Breakout(Parameters(timeframe="1m", lookback=3)).decide(view(symbol_view(closes=[1, 2, 3, 4])))
    assert told(entering.orders) == [("buy", "100", None)]
    leaving = Breakout(Parameters(timeframe="1m", lookback=3)).decide(
        view(symbol_view(closes=[4, 3, 2, 1], held="100"))
    )
    assert told(leaving.orders) == [("sell", "100", None)]
