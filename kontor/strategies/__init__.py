"""Strategies: what they see, what they may want, and the ones that ship with Kontor."""

from kontor.strategies.protocol import Decision, Strategy, StrategyOrder, StrategyParameters
from kontor.strategies.view import CLOSE, HIGH, LOW, OPEN, VOLUME, DataNeed, MarketView, SymbolView

__all__ = [
    "CLOSE",
    "HIGH",
    "LOW",
    "OPEN",
    "VOLUME",
    "DataNeed",
    "Decision",
    "MarketView",
    "Strategy",
    "StrategyOrder",
    "StrategyParameters",
    "SymbolView",
]
