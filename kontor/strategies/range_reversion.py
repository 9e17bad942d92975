"""Buying at a range's low and selling at its high, in units with DCA levels: the notebook's own way to trade."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kontor.domain.market import MarketKind
from kontor.domain.order import Side
from kontor.domain.ranges import MIN_DISTANCE
from kontor.domain.units import dca_levels, risk_of
from kontor.strategies.protocol import Decision, Strategy, StrategyOrder, StrategyParameters
from kontor.strategies.resting import Wanted, aligned
from kontor.strategies.view import DataNeed, MarketView, SymbolView

Distance = Annotated[Decimal, Field(ge=0, lt=100)]
Weight = Annotated[Decimal, Field(gt=0)]


class RangeReversionParameters(StrategyParameters):
    """DCA levels are percent beyond the range's level; weights are shares of a unit's value, one per level."""

    timeframe: str = "1m"
    direction: Literal["long", "short", "both"] = "both"
    dca_percent: Annotated[tuple[Distance, ...], Field(min_length=1, max_length=20)] = (
        Decimal(0),
        Decimal("0.5"),
        Decimal(1),
    )
    dca_weights: tuple[Weight, ...] = (Decimal(1), Decimal(1), Decimal(2))

    @model_validator(mode="after")
    def _one_weight_per_level(self) -> Self:
        dca_levels(self.dca_percent, self.dca_weights)
        return self


@dataclass(frozen=True, slots=True)
class Plan:
    """One unit on one symbol: its entries from the nearest on, and where it is closed with a gain."""

    side: Side
    entries: tuple[tuple[Decimal, Decimal], ...]
    target: Decimal

    @property
    def value(self) -> Decimal:
        """What the unit is worth once every entry is filled."""
        return sum((price * quantity for price, quantity in self.entries), Decimal(0))

    def to_json(self) -> dict[str, Any]:
        """For the strategy's state, exact."""
        entries = [[str(price), str(quantity)] for price, quantity in self.entries]
        return {"side": self.side.value, "entries": entries, "target": str(self.target)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        entries = tuple((Decimal(price), Decimal(quantity)) for price, quantity in value["entries"])
        return cls(Side(value["side"]), entries, Decimal(value["target"]))


class RangeReversion(Strategy[RangeReversionParameters]):
    """Rests entries at the range's levels while flat; once one fills, the plan stands until the position is closed.

    A plan per side while flat, so both levels are covered; the first fill decides. The closing order rests at the
    other level. A plan is made only if a unit is left and its risk down to the stop fits the free risk margin.
    """

    def needs(self) -> DataNeed:
        """A complete range; one candle gives the pace."""
        return DataNeed(self.parameters.timeframe, 1, ranges=True)

    def decide(self, view: MarketView) -> Decision:
        """Entries for flat symbols, the rest of the plan and a closing order for held ones."""
        orders: list[StrategyOrder] = []
        cancels: list[str] = []
        plans: dict[str, Any] = {s: p for s, p in view.state.get("plans", {}).items() if s in view.left_out}
        left, margin = view.units.next_unit_value, view.risk_margin
        for symbol, market in view.items():
            mine = self._held_plan(view, market) if market.quantity else None
            if mine is not None:
                wanted = [*_rest_of(mine, market), _closing(mine, market)]
                plans[symbol] = {mine.side.value: mine.to_json()}
            elif market.quantity:
                # Held, and nobody knows why: the state was lost. The exits of kontor.yaml still watch over it.
                wanted = []
            else:
                made = self._plans(view, market, left, margin)
                wanted = [entry for plan in made for entry in _rest_of(plan, market)]
                plans[symbol] = {plan.side.value: plan.to_json() for plan in made}
                if made and not market.orders:
                    # The next unit is one unit: another symbol waits for its turn.
                    left, margin = Decimal(0), Decimal(0)
            new, old = aligned(market, wanted)
            orders += new
            cancels += old
        return Decision.of(orders, cancels, {"plans": plans})

    def _held_plan(self, view: MarketView, market: SymbolView) -> Plan | None:
        side = Side.BUY if market.quantity > 0 else Side.SELL
        known = view.state.get("plans", {}).get(market.symbol, {}).get(side.value)
        return Plan.from_json(known) if known else None

    def _plans(self, view: MarketView, market: SymbolView, value: Decimal, margin: Decimal) -> list[Plan]:
        """A plan per wanted side. One that rests keeps its size: its entries are an open unit already."""
        known = view.state.get("plans", {}).get(market.symbol, {})
        resting = {Side(side): Plan.from_json(plan) for side, plan in known.items()} if market.orders else {}
        if resting:
            value = max(plan.value for plan in resting.values())
        found = []
        for side in self._sides(market):
            plan = _plan(market, side, value, dca_levels(self.parameters.dca_percent, self.parameters.dca_weights))
            if plan is None:
                continue
            if side in resting and (
                _same_prices(resting[side], plan) or _stands_nearer(resting[side], plan, market.price)
            ):
                found.append(resting[side])
            elif plan.value and (resting or risk_of(plan.value, view.stop_loss_percent) <= margin):
                found.append(plan)
        return found

    def _sides(self, market: SymbolView) -> list[Side]:
        can_short = market.market.kind is MarketKind.SWAP
        wanted = {"long": [Side.BUY], "short": [Side.SELL], "both": [Side.BUY, Side.SELL]}[self.parameters.direction]
        return [side for side in wanted if side is Side.BUY or can_short]


def _plan(market: SymbolView, side: Side, value: Decimal, levels: tuple[Any, ...]) -> Plan | None:
    bounds = market.range
    if bounds is None or bounds.high is None or bounds.low is None:
        return None
    first, target = (bounds.low, bounds.high) if side is Side.BUY else (bounds.high, bounds.low)
    away = -1 if side is Side.BUY else 1
    entries = []
    for level in levels:
        price = market.market.round_price(first * (1 + away * level.distance_percent / 100))
        entries.append((price, market.market.round_quantity(value * level.weight / price)))
    return Plan(side, tuple(entries), market.market.round_price(target))


def _rest_of(plan: Plan, market: SymbolView) -> list[Wanted]:
    """The entries still to be filled: what is held filled the nearest ones first."""
    held, wanted = abs(market.quantity), []
    for number, (price, quantity) in enumerate(plan.entries):
        left = quantity - held
        held = max(held - quantity, Decimal(0))
        if left > market.market.quantity_step:
            wanted.append(Wanted(f"entry-{number}", plan.side, left, price))
    return wanted


def _closing(plan: Plan, market: SymbolView) -> Wanted:
    side = Side.SELL if plan.side is Side.BUY else Side.BUY
    quantity = market.market.round_quantity(abs(market.quantity))
    return Wanted("close", side, quantity, plan.target, reduce_only=True)


def _stands_nearer(resting: Plan, new: Plan, price: Decimal) -> bool:
    """The range has moved away only because the price comes near: levels closer than half a percent are none.

    Following it would take the entries away whenever they are about to be filled.
    """
    old, beyond = resting.entries[0][0], new.entries[0][0]
    # Ranges are looked for every few minutes: the price may have been nearer then.
    is_near = abs(price - old) <= 2 * price * Decimal(str(MIN_DISTANCE))
    return is_near and (beyond < old <= price if resting.side is Side.BUY else beyond > old >= price)


def _same_prices(one: Plan, other: Plan) -> bool:
    return [price for price, _ in one.entries] == [price for price, _ in other.entries] and one.target == other.target
