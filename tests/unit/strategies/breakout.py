"""Buy when the price closes above the last candles' highs, leave when it closes below their lows."""

from pydantic import PositiveInt

from kontor.strategies import CLOSE, HIGH, LOW, DataNeed, Decision, MarketView, Strategy, StrategyParameters


class Parameters(StrategyParameters):
    timeframe: str = "15m"
    lookback: PositiveInt = 20


class Breakout(Strategy[Parameters]):
    def needs(self) -> DataNeed:
        return DataNeed(self.parameters.timeframe, self.parameters.lookback + 1)

    def decide(self, view: MarketView) -> Decision:
        orders = []
        for market in view.values():
            candles = market.candles(self.parameters.timeframe)
            close, before = candles[-1, CLOSE], candles[:-1]
            if close > before[:, HIGH].max() and not market.quantity:
                orders += market.target(market.quantity_for(view.share), "enter")
            elif close < before[:, LOW].min():
                orders += market.target(0, "leave")
        return Decision.of(orders)
