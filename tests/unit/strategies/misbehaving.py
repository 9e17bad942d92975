"""Strategies that raise, hang, burn the processor, print, or end their process."""

import os
import time

from kontor.strategies import DataNeed, Decision, MarketView, Strategy, StrategyParameters


class Parameters(StrategyParameters):
    how: str = ""


class Misbehaving(Strategy[Parameters]):
    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        how = self.parameters.how
        if how == "raises":
            raise KeyError("a level")
        if how == "hangs":
            time.sleep(600)
        if how == "naps":
            time.sleep(0.8)
        if how == "burns":
            while True:
                pass
        if how == "dies":
            os._exit(3)
        if how == "prints":
            print("x" * 100_000)
        if how == "cannot be passed on":
            return lambda: None  # pyright: ignore[reportReturnType]
        return Decision.of(state={"pid": os.getpid(), "symbols": sorted(view)})
