"""The users' resting orders of one market, by price and then by time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from kontor.paper.model import Order


class UserBook:
    """Both sides; orders are in whole ticks and lots."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[int, dict[int, Order]]] = {"buy": {}, "sell": {}}
        self._prices: dict[str, list[int]] = {"buy": [], "sell": []}  # ascending

    def __bool__(self) -> bool:
        return bool(self._prices["buy"] or self._prices["sell"])

    def add(self, order: Order) -> None:
        """Rest an order in its place among those of its price."""
        levels = self._levels[order.side]
        if order.px_ticks not in levels:
            levels[order.px_ticks] = {}
            insort(self._prices[order.side], order.px_ticks)
        level = levels[order.px_ticks]
        level[order.seq] = order
        if len(level) > 1 and order.seq != max(level):  # an amended order that keeps its place
            levels[order.px_ticks] = dict(sorted(level.items()))

    def remove(self, order: Order) -> None:
        """Take an order out; one that is not there is an error."""
        levels = self._levels[order.side]
        level = levels[order.px_ticks]
        del level[order.seq]
        if not level:
            del levels[order.px_ticks]
            prices = self._prices[order.side]
            del prices[bisect_left(prices, order.px_ticks)]

    def best(self, side: str) -> int | None:
        """The best price of a side, in ticks."""
        prices = self._prices[side]
        if not prices:
            return None
        return prices[-1] if side == "buy" else prices[0]

    def levels(self, side: str) -> Iterator[tuple[int, list[Order]]]:
        """Prices best first, each with its orders oldest first. The book may change while this is read."""
        prices = reversed(self._prices[side]) if side == "buy" else iter(self._prices[side])
        for price in list(prices):
            yield price, list(self._levels[side].get(price, {}).values())

    def orders(self, side: str) -> Iterator[Order]:
        """Orders in the turn in which they trade."""
        for _, level in self.levels(side):
            yield from level
