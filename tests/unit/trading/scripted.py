"""Strategies that do what a test wants, and a desk that runs them."""

from decimal import Decimal
from typing import Any

from kontor.domain.intent import OrderIntent
from kontor.domain.order import OrderType, Side
from kontor.strategies import DataNeed, Decision, MarketView, Strategy, StrategyOrder, StrategyParameters
from tests.fakes.desk import BTC, ETH
from tests.fakes.trading import TradingDesk

SCRIPTED = f"{__name__}:Scripted"
CROSSING = f"{__name__}:Crossing"
CLOSING = f"{__name__}:Closing"
BUYER = f"{__name__}:Buyer"


class Parameters(StrategyParameters):
    leg: str = "enter"
    quantity: Decimal = Decimal(1)
    misdeed: str = ""
    side: Side = Side.BUY
    count: int = 1


class Scripted(Strategy[Parameters]):
    """Buys on each symbol, or does what its parameters say."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 3)

    def decide(self, view: MarketView) -> Decision:
        p = self.parameters
        if p.misdeed == "raises":
            raise ZeroDivisionError("division by zero")
        if p.misdeed == "nonsense":
            return [1, 2, 3]  # pyright: ignore[reportReturnType]
        if p.misdeed == "not a number":
            return Decision.of([StrategyOrder("x", OrderIntent(BTC, Side.BUY, OrderType.MARKET, Decimal("nan")))])
        if p.misdeed == "foreign symbol":
            return Decision.of([StrategyOrder("x", OrderIntent("XRP/USD:USD", Side.BUY, OrderType.MARKET, Decimal(1)))])
        if p.misdeed == "foreign cancel":
            return Decision.of(cancels=["somebodys-order"])
        if p.misdeed == "state":
            return Decision.of(state={"view": view})
        orders = [
            market.at_market(f"{p.leg}-{number}", p.side, p.quantity)
            for market in view.values()
            for number in range(p.count)
        ]
        return Decision.of(orders, state={"runs": view.state.get("runs", 0) + 1})


class Crossing(Strategy[Parameters]):
    """Long by its target, and out again when told."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        return Decision.of(o for m in view.values() for o in m.target(self.parameters.quantity, self.parameters.leg))


class Closing(Strategy[Parameters]):
    """Closes all of it at once, whatever rests."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        held = [market for market in view.values() if market.quantity]
        return Decision.of(m.at_market("close", Side.SELL, m.quantity, reduce_only=True) for m in held)


class Buyer(Strategy[Parameters]):
    """Buys once, and notes what capital it saw."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        [market] = view.values()
        orders = [] if market.position.is_open else [market.at_market("enter", Side.BUY, self.parameters.quantity)]
        return Decision.of(orders, state={"capital": str(view.capital), "unit": str(view.units.next_unit_value)})


def strategy(use: str = SCRIPTED, symbols: tuple[str, ...] = (BTC,), **more: Any) -> dict[str, Any]:
    parameters = {k: v for k, v in more.items() if k in Parameters.model_fields}
    settings = {k: v for k, v in more.items() if k not in parameters}
    return {"use": use, "symbols": symbols, "parameters": parameters, "capital_share_percent": 10, **settings}


def desk_with(strategies: dict[str, dict[str, Any]], **sections: Any) -> TradingDesk:
    desk = TradingDesk(strategies, **sections)
    for symbol in (BTC, ETH):
        desk.move(symbol, "100", closes=[100.0] * 10)
    return desk
