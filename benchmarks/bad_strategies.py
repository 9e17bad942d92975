"""Strategies that do wrong in every way, and one that does not: each a class of its own, as a user would write them."""

import time
from decimal import Decimal

from kontor.domain.order import Side
from kontor.strategies import DataNeed, Decision, MarketView, Strategy, StrategyParameters

FLOOD = 10_000


class _Bad(Strategy[StrategyParameters]):
    def needs(self) -> DataNeed:
        """A little history."""
        return DataNeed("1m", 30)


class Good(_Bad):
    """Looks, remembers, and wants nothing."""

    def decide(self, view: MarketView) -> Decision:
        """Count the runs."""
        return Decision.of(state={"runs": view.state.get("runs", 0) + 1})


class Raises(_Bad):
    """Has a mistake in it."""

    def decide(self, view: MarketView) -> Decision:
        """Divide by zero."""
        return Decision.of(state={"ratio": len(view) / 0})


class Hangs(_Bad):
    """Waits for something that never comes."""

    def decide(self, view: MarketView) -> Decision:
        """Wait."""
        del view
        time.sleep(3600)
        return Decision()


class Burns(_Bad):
    """Calculates without end."""

    def decide(self, view: MarketView) -> Decision:
        """Burn a processor."""
        while view:
            pass
        return Decision()


class Nonsense(_Bad):
    """Returns something else."""

    def decide(self, view: MarketView) -> Decision:
        """A list, and not of orders."""
        return [1, 2, 3, view.now]  # pyright: ignore[reportReturnType]


class Floods(_Bad):
    """Wants more orders than anybody can mean."""

    def decide(self, view: MarketView) -> Decision:
        """Ten thousand of them."""
        market = next(iter(view.values()))
        price = market.price * Decimal("0.9")
        return Decision.of(market.limit(f"leg-{n}", Side.BUY, Decimal(1), price) for n in range(FLOOD))


# What each must be told to have done: without it the measurement says nothing.
TOLD = {
    "good": "",
    "raises": "ZeroDivisionError",
    "hangs": "took longer than",
    "burns": "took longer than",
    "nonsense": "must return a Decision, not list",
    "floods": f"wants {FLOOD} orders",
}
