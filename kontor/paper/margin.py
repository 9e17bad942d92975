"""How much of an account is free: equity, margins and frozen amounts, as pure functions of the account and the
prices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from kontor.paper.accounts import Account, Resting, lot_tick_value
from kontor.paper.instruments import MAINTENANCE_RATE
from kontor.paper.model import ZERO, Instrument
from kontor.paper.positions import PositionState

USD = "USD"
Prices = Callable[[str], tuple[Instrument, int]]  # instrument id to the instrument and its last price in ticks


@dataclass(frozen=True, slots=True)
class Margin:
    """An account's USD in futures mode: swaps are margined in it, spot is paid with it. Isolated positions stand
    apart, with what they have been given.
    """

    cash: Decimal
    upl: Decimal
    imr: Decimal  # of the positions
    mmr: Decimal
    order_imr: Decimal
    frozen: Decimal  # by spot orders
    notional: Decimal
    isolated: Decimal = ZERO  # margin and profit of the isolated positions
    isolated_upl: Decimal = ZERO
    isolated_notional: Decimal = ZERO

    @property
    def equity(self) -> Decimal:
        """Cash and what the cross positions have won or lost so far."""
        return self.cash + self.upl

    @property
    def total(self) -> Decimal:
        """Equity, isolated positions included."""
        return self.equity + self.isolated

    @property
    def order_frozen(self) -> Decimal:
        """What resting orders tie up."""
        return self.order_imr + self.frozen

    @property
    def available_equity(self) -> Decimal:
        """What new margin may use."""
        return self.equity - self.imr - self.order_frozen

    @property
    def available_cash(self) -> Decimal:
        """What may be paid with: profit that is not realized buys nothing."""
        return self.cash + min(self.upl, ZERO) - self.imr - self.order_frozen

    @property
    def ratio(self) -> Decimal | None:
        """Equity over maintenance margin; None without positions."""
        return (self.equity - self.order_frozen) / self.mmr if self.mmr else None


def order_margin(resting: Resting, held: int, leverage: Decimal) -> Decimal:
    """The margin of one position's resting orders: those that only close what is held need none; of the two sides
    the dearer counts.
    """
    opening_buys = max(0, resting.buy_lots - max(0, -held))
    opening_sells = max(0, resting.sell_lots - max(0, held))
    buys = resting.buy_value * opening_buys / resting.buy_lots if opening_buys else ZERO
    sells = resting.sell_value * opening_sells / resting.sell_lots if opening_sells else ZERO
    return max(buys, sells) / leverage


def margin_of(account: Account, prices: Prices) -> Margin:
    """Where an account stands at these prices."""
    upl = imr = mmr = order_imr = notional = ZERO
    isolated = isolated_upl = isolated_notional = ZERO
    for position in account.positions.values():
        if position.lots:
            instrument, last = prices(position.inst_id)
            lot_value = last * lot_tick_value(instrument)
            value, won = abs(position.lots) * lot_value, position.unrealized(lot_value)
            if position.isolated:
                isolated, isolated_upl = isolated + position.margin + won, isolated_upl + won
                isolated_notional += value
                continue
            upl += won
            imr += value / account.leverage(instrument)
            mmr += value * MAINTENANCE_RATE
            notional += value
    for leg, resting in account.resting.items():
        if resting.buy_lots or resting.sell_lots:
            instrument, _ = prices(leg.inst_id)
            leverage = account.leverage(instrument, leg.mgn_mode, leg.pos_side)
            order_imr += order_margin(resting, account.position_lots(leg), leverage)
    frozen = account.frozen.get(USD, ZERO)
    cash = account.cash.get(USD, ZERO)
    return Margin(
        cash, upl, imr, mmr, order_imr, frozen, notional, isolated, isolated_upl, isolated_notional
    )  # fmt: skip


def isolated_ratio(position: PositionState, lot_value: Decimal) -> Decimal:
    """What an isolated position has over its maintenance margin."""
    value = abs(position.lots) * lot_value
    return (position.margin + position.unrealized(lot_value)) / (value * MAINTENANCE_RATE)
