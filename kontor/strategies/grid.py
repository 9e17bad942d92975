"""A grid: lines at even distances; buys rest below the price, and what each line bought is sold one line higher."""

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from kontor.domain.order import Side
from kontor.strategies.protocol import Decision, Strategy, StrategyOrder, StrategyParameters
from kontor.strategies.resting import Wanted, aligned
from kontor.strategies.view import DataNeed, MarketView, SymbolView

Price = Annotated[Decimal, Field(gt=0)]


class GridParameters(StrategyParameters):
    """Bounds in quote currency, `lines` of them in all; at most `open_lines` orders rest on each side."""

    lower: Price
    upper: Price
    lines: Annotated[int, Field(ge=3, le=200)] = 11
    open_lines: Annotated[int, Field(ge=1, le=50)] = 5
    timeframe: str = "1m"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        return self


class Grid(Strategy[GridParameters]):
    """Long only, on spot and swaps; use it for one symbol, since its bounds are prices.

    The lines, from the top, are cells: cell k is bought at its lower line and sold at its upper one. Cells above the
    price at the start are left alone until the price has been there; what is held fills the cells below those.
    """

    def needs(self) -> DataNeed:
        """One candle gives the pace."""
        return DataNeed(self.parameters.timeframe, 1)

    def decide(self, view: MarketView) -> Decision:
        """Resting orders around the price."""
        orders: list[StrategyOrder] = []
        cancels: list[str] = []
        state: dict[str, Any] = {**view.state}
        for symbol, market in view.items():
            size = self._cell_size(view, market)
            skipped = int(state.get(symbol, {}).get("skipped", self._above(market)))
            if not market.quantity:
                skipped = self._above(market)
            # The size stays as it was while something is held or rests, though the capital moves.
            state[symbol] = {"skipped": skipped, "size": str(size)}
            new, old = aligned(market, self._wanted(market, size, skipped))
            orders += new
            cancels += old
        return Decision.of(orders, cancels, state)

    def line(self, number: int) -> Decimal:
        """The price of a line, counted from the top."""
        distance = (self.parameters.upper - self.parameters.lower) / (self.parameters.lines - 1)
        return self.parameters.upper - number * distance

    def _above(self, market: SymbolView) -> int:
        """Cells whose buying line is not below the price."""
        return sum(self.line(cell + 1) >= market.price for cell in range(self.parameters.lines - 1))

    def _cell_size(self, view: MarketView, market: SymbolView) -> Decimal:
        """Every cell is bought for the same quantity, so that a sale matches a purchase."""
        cells = self.parameters.lines - 1
        middle = (self.parameters.upper + self.parameters.lower) / 2
        known = view.state.get(market.symbol, {}).get("size") if market.quantity or market.orders else None
        return Decimal(known) if known else market.market.round_quantity(view.share / cells / middle)

    def _wanted(self, market: SymbolView, size: Decimal, skipped: int) -> list[Wanted]:
        if not size:
            return []
        cells = self.parameters.lines - 1
        held = market.market.round_quantity(market.quantity)
        full, part = divmod(max(held, Decimal(0)), size)
        first_free = skipped + int(full)
        wanted = []
        # The cells bought last are nearest below: they are sold first.
        if part > market.market.min_quantity and first_free < cells:
            wanted.append(Wanted(f"sell-{first_free}", Side.SELL, part, self.line(first_free), reduce_only=True))
        lowest = max(skipped, first_free - self.parameters.open_lines)
        wanted += [
            Wanted(f"sell-{cell}", Side.SELL, size, self.line(cell), reduce_only=True)
            for cell in range(first_free - 1, lowest - 1, -1)
        ]
        for cell in range(first_free, min(cells, first_free + self.parameters.open_lines)):
            quantity = size - part if cell == first_free else size
            wanted.append(Wanted(f"buy-{cell}", Side.BUY, quantity, self.line(cell + 1)))
        return wanted
