"""An account as its strategies share it: positions, open orders, what the venue holds, units and prices."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from kontor.config import KontorConfig
from kontor.domain.account import Balance
from kontor.domain.exposure import exposure_key, only_reduces
from kontor.domain.identity import EXTERNAL
from kontor.domain.intent import RiskView
from kontor.domain.market import Market, MarketKind, Ticker
from kontor.domain.order import Order
from kontor.domain.strategy_position import Positions, StrategyPosition, by_hand
from kontor.domain.units import OpenUnit, UnitFigures, UnitRules, figures, risk_of
from kontor.errors import KontorError
from kontor.execution.parts import Parts
from kontor.execution.view import load_markets, load_view
from kontor.trading.positions import holders

UNITS = "units"
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Books:
    """One moment of an account; `unsettled` are the (strategy, symbol) with fills that are known but not booked yet."""

    view: RiskView
    balance: Balance
    positions: Positions
    orders: Mapping[str, tuple[Order, ...]]
    unsettled: frozenset[tuple[str, str]]
    units: UnitFigures
    # Protective stops that may still change something, by (strategy, symbol); no strategy sees them.
    stops: Mapping[tuple[str, str], tuple[Order, ...]] = field(default_factory=dict)

    @property
    def capital(self) -> Decimal:
        """What the account is worth: what coins were bought with is still capital, only not cash."""
        return self.units.total_capital

    def position(self, strategy: str, symbol: str) -> StrategyPosition:
        """What a strategy holds there."""
        return self.positions.get((strategy, symbol)) or StrategyPosition(strategy, symbol)

    def orders_of(self, strategy: str, symbol: str) -> tuple[Order, ...]:
        """Its orders there that may still change the position, oldest first."""
        return tuple(order for order in self.orders.get(strategy, ()) if order.symbol == symbol)

    def held(self, market: Market) -> Decimal:
        """What the venue holds, signed; on spot what is free, since nothing else can be sold."""
        if market.kind is MarketKind.SPOT:
            currency = self.balance.currencies.get(market.base)
            return currency.free if currency else _NOTHING
        return self.total(market)

    def total(self, market: Market) -> Decimal:
        """What the venue holds, signed, also what orders have locked."""
        return self.view.holdings.get(exposure_key(market), _NOTHING)

    def fresh_ticker(self, symbol: str, max_age: timedelta) -> Ticker | str:
        """The ticker, or why it cannot be traded on."""
        ticker = self.view.tickers.get(symbol)
        if ticker is None or ticker.last is None:
            return "no last price"
        age = self.view.now - ticker.last_at
        return f"its last price is {age.total_seconds():.0f} s old" if age > max_age else ticker

    def by_hand(self) -> dict[str, Decimal]:
        """What is held beyond the strategies' positions."""
        return by_hand(self.positions, self.view.holdings, self.view.markets)


async def load_books(parts: Parts, symbols: Collection[str] = ()) -> Books:
    """The account's books, with fresh tickers for `symbols` and what is held; KontorError before the first balance."""
    found = await holders(parts, await load_markets(parts))
    positions = found.shared.positions
    held = {symbol for (_, symbol), position in positions.items() if position.is_open}
    view = await load_view(parts, {*symbols, *held}, reduces=True)
    if view.balance is None:
        raise KontorError("the balance is not known yet; wait for update-balance")
    short = await parts.store.orders.short_of_fills(parts.account, limit=10_000)
    orders: dict[str, list[Order]] = {}
    stops: dict[tuple[str, str], list[Order]] = {}
    for order in sorted(view.orders, key=lambda order: order.created_at):
        if order.strategy and order.strategy != EXTERNAL:
            if order.is_stop:
                stops.setdefault((order.strategy, order.symbol), []).append(order)
                continue
            orders.setdefault(order.strategy, []).append(order)
    units = open_units(parts.config, view, positions)
    return Books(
        view=view,
        balance=view.balance,
        positions=positions,
        orders={name: tuple(some) for name, some in orders.items()},
        stops={key: tuple(some) for key, some in stops.items()},
        unsettled=frozenset((order.strategy, order.symbol) for order in short if order.strategy)
        | {key for key in positions if key[1] in found.strays},
        units=figures(unit_rules(parts.config), view.equity or _NOTHING, units),
    )


def unit_rules(config: KontorConfig) -> UnitRules:
    """The rules of kontor.yaml."""
    units = config.units
    return UnitRules(units.value_factors, units.risk_factor, units.priority_risk_factor, units.max_positions)


def open_units(config: KontorConfig, view: RiskView, positions: Positions) -> list[OpenUnit]:
    """One unit for each symbol on which a strategy holds something or waits for an entry; trades by hand are none."""
    values: dict[tuple[str, str], Decimal] = {}
    for key, position in positions.items():
        if position.is_open:
            values[key] = abs(position.quantity) * _price(view, position.symbol, position.entry_price)
    for order in view.orders:
        market = view.markets.get(order.symbol)
        if order.strategy in {None, EXTERNAL} or only_reduces(market, order.side, reduce_only=order.reduce_only):
            continue
        key = str(order.strategy), order.symbol
        worth = order.remaining_quantity * (order.price or _price(view, order.symbol, _NOTHING))
        values[key] = values.get(key, _NOTHING) + worth
    return [
        OpenUnit(name, symbol, value, risk_of(value, _stop(config, name))) for (name, symbol), value in values.items()
    ]


def _stop(config: KontorConfig, strategy: str) -> Decimal | None:
    settings = config.strategies.get(strategy)
    return settings.exits.stop_loss_percent if settings else None


def _price(view: RiskView, symbol: str, otherwise: Decimal) -> Decimal:
    ticker = view.tickers.get(symbol)
    return ticker.last if ticker is not None and ticker.last is not None else otherwise
