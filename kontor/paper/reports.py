"""What the venue answers when asked: tickers, books, balances, positions and lists of orders, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from kontor.paper.accounts import NET_MODE, Account, lot_tick_value
from kontor.paper.holdings import AccountBalance, CurrencyBalance, LeverageInfo, Position
from kontor.paper.instruments import MAINTENANCE_RATE
from kontor.paper.margin import USD, Margin, isolated_ratio
from kontor.paper.model import (
    ZERO,
    Book,
    Fill,
    Instrument,
    Level,
    Order,
    Ticker,
    VenueError,
)
from kontor.paper.positions import PositionState
from kontor.paper.state import State

_MAX_DEPTH = 50
_PLACES = Decimal("1e-12")


def _short(value: Decimal) -> Decimal:
    """At most twelve decimal places, for quotients."""
    return value.quantize(_PLACES, rounding=ROUND_HALF_EVEN).normalize() + ZERO


class Reports:
    """Readings of a State, as of its last step."""

    def __init__(self, state: State) -> None:
        self._state = state

    # Market

    def tickers(self, inst_type: str | None, inst_ids: Sequence[str] | None, now_ms: int) -> list[Ticker]:
        """Tickers of a list, a type or everything."""
        market = self._state.market
        chosen = (
            market.instruments(inst_type, None, None)
            if inst_ids is None
            else [market.instrument(name) for name in inst_ids]
        )
        days = market.day(chosen, now_ms)
        step = market.step(now_ms)
        found = []
        for instrument, day in zip(chosen, days, strict=True):
            last, tick = market.last_ticks(instrument, step), instrument.tick_sz
            ask, bid = self._best(instrument, "sell", step, last), self._best(instrument, "buy", step, last)
            lots = round(day.volume / float(instrument.ct_val * instrument.lot_sz))
            volume = lots * instrument.lot_sz
            base, price = volume * instrument.ct_val, last * tick
            turnover = base * price
            found.append(
                Ticker(
                    inst_type=instrument.inst_type,
                    inst_id=instrument.inst_id,
                    last=price,
                    last_sz=market.depths[instrument.index].crowd(step, last) * instrument.lot_sz,
                    ask_px=ask[0] * tick if ask else None,
                    ask_sz=ask[1] * instrument.lot_sz if ask else ZERO,
                    bid_px=bid[0] * tick if bid else None,
                    bid_sz=bid[1] * instrument.lot_sz if bid else ZERO,
                    open_24h=day.open * tick,
                    high_24h=day.high * tick,
                    low_24h=day.low * tick,
                    vol_24h=volume,
                    vol_ccy_24h=base if instrument.is_swap else turnover,
                    volume_usd_24h=turnover,
                    sod_utc0=day.sod_utc0 * tick,
                    sod_utc8=day.sod_utc8 * tick,
                    ts=step * market.tick_ms,
                )
            )
        return found

    def _best(self, instrument: Instrument, side: str, step: int, last: int) -> tuple[int, int] | None:
        """The best price of a side and the lots there."""
        best = self._state.market.depths[instrument.index].top(side, step, last)
        users = self._state.books[instrument.index]
        price = users.best(side)
        if price is None:
            return best
        mine = sum(order.lots - order.lots_filled for order in next(users.levels(side))[1])
        if best is None or (price > best[0] if side == "buy" else price < best[0]):
            return price, mine
        return (best[0], best[1] + mine) if price == best[0] else best

    def book(self, inst_id: str, depth: int, now_ms: int) -> Book:
        """Both sides, crowd and users together."""
        instrument = self._state.market.instrument(inst_id)
        step = self._state.market.step(now_ms)
        sides = [self._levels(instrument, side, step)[: min(depth, _MAX_DEPTH)] for side in ("sell", "buy")]
        return Book(inst_id, tuple(sides[0]), tuple(sides[1]), step * self._state.market.tick_ms)

    def _levels(self, instrument: Instrument, side: str, step: int) -> list[Level]:
        last = self._state.market.last_ticks(instrument, step)
        lots, orders = Counter[int](), Counter[int]()
        for price, offered in self._state.market.depths[instrument.index].left(side, step, last):
            lots[price] += offered
            orders[price] += 1 + offered % 7
        for price, level in self._state.books[instrument.index].levels(side):
            lots[price] += sum(order.lots - order.lots_filled for order in level)
            orders[price] += len(level)
        return [
            Level(p * instrument.tick_sz, lots[p] * instrument.lot_sz, orders[p])
            for p in sorted(lots, reverse=side == "buy")
        ]

    # Accounts

    def balance(self, name: str, ccys: Iterable[str] | None) -> AccountBalance:
        """Every currency that is not zero, or those named."""
        account = self._state.account(name)
        margin = self._state.margin(account)
        wanted = (
            list(ccys) if ccys is not None else sorted(ccy for ccy in account.cash if account.cash[ccy] or ccy == USD)
        )
        details = tuple(self._currency(account, ccy, margin) for ccy in wanted)
        held = sum(
            (quantity * self._usd(ccy) for ccy, quantity in account.cash.items() if ccy != USD and quantity), ZERO
        )
        frozen = sum(
            (quantity * self._usd(ccy) for ccy, quantity in account.frozen.items() if ccy != USD and quantity), ZERO
        )
        return AccountBalance(
            u_time=account.u_time,
            total_eq=_short(margin.total + held),
            iso_eq=_short(margin.isolated),
            adj_eq=_short(margin.equity),
            ord_froz=_short(margin.order_frozen + frozen),
            imr=_short(margin.imr + margin.order_imr),
            mmr=_short(margin.mmr),
            notional_usd=_short(margin.notional + margin.isolated_notional),
            upl=_short(margin.upl + margin.isolated_upl),
            mgn_ratio=_short(margin.ratio) if margin.ratio is not None else None,
            details=details,
        )

    def _currency(self, account: Account, ccy: str, margin: Margin) -> CurrencyBalance:
        cash, frozen = account.cash.get(ccy, ZERO), account.frozen.get(ccy, ZERO)
        if ccy != USD:
            free = cash - frozen
            worth = _short(cash * self._usd(ccy))
            return CurrencyBalance(
                ccy, cash, cash, free, free, frozen, frozen, ZERO, ZERO, ZERO, None, ZERO, worth, account.u_time
            )
        return CurrencyBalance(
            ccy=ccy,
            eq=_short(margin.total),
            cash_bal=cash,
            avail_bal=_short(max(ZERO, margin.available_cash)),
            avail_eq=_short(max(ZERO, margin.available_equity)),
            frozen_bal=_short(margin.imr + margin.order_frozen + max(ZERO, margin.isolated)),
            ord_frozen=_short(margin.order_frozen),
            upl=_short(margin.upl),
            imr=_short(margin.imr + margin.order_imr),
            mmr=_short(margin.mmr),
            mgn_ratio=_short(margin.ratio) if margin.ratio is not None else None,
            notional_lever=_short(margin.notional / margin.equity) if margin.equity > 0 else ZERO,
            eq_usd=_short(margin.total),
            u_time=account.u_time,
            iso_eq=_short(margin.isolated),
            iso_upl=_short(margin.isolated_upl),
        )

    def _usd(self, ccy: str) -> Decimal:
        """What one unit of a currency is worth; 0 where nothing is listed that tells."""
        for inst_id in (f"{ccy}-USD", f"{ccy}-USD-SWAP"):
            try:
                instrument, last = self._state.prices(inst_id)
            except VenueError:
                continue
            return last * instrument.tick_sz
        return Decimal(1) if ccy == USD else ZERO

    def positions(self, name: str, inst_type: str | None, inst_id: str | None) -> list[Position]:
        """Open positions, in the order in which they were first opened."""
        account = self._state.account(name)
        margin = self._state.margin(account)
        return [
            self.position(account, position, margin)
            for position in account.positions.values()
            if position.lots and inst_type in (None, "", "SWAP") and inst_id in (None, "", position.inst_id)
        ]

    def position(self, account: Account, position: PositionState, margin: Margin | None = None) -> Position:
        """One position at the present price."""
        margin = margin or self._state.margin(account)
        instrument, last = self._state.prices(position.inst_id)
        lot_value = last * lot_tick_value(instrument)
        leverage = account.leverage(instrument, position.mgn_mode, position.pos_side)
        mark, lots = last * instrument.tick_sz, position.lots
        value, quantity = abs(lots) * lot_value, lots * instrument.lot_sz
        base = quantity * instrument.ct_val
        upl, entry = position.unrealized(lot_value), position.entry_value
        ratio = isolated_ratio(position, lot_value) if position.isolated and lots else margin.ratio
        average = _short(entry / abs(base)) if lots else None
        break_even = _short((entry / base if lots > 0 else -entry / base) - position.realized / base) if lots else None
        return Position(
            inst_id=position.inst_id,
            inst_type=instrument.inst_type,
            mgn_mode=position.mgn_mode,
            pos_side=position.pos_side,
            pos_id=position.pos_id,
            pos=quantity if position.pos_side == "net" else abs(quantity),
            avail_pos=abs(quantity),
            avg_px=average,
            mark_px=mark,
            last=mark,
            lever=leverage,
            upl=_short(upl),
            upl_ratio=_short(upl * leverage / entry) if entry else ZERO,
            realized_pnl=_short(position.realized),
            pnl=_short(position.pnl),
            fee=_short(position.fee),
            funding_fee=position.funding_fee,
            liq_penalty=position.liq_penalty,
            notional_usd=value,
            imr=_short(value / leverage),
            mmr=_short(value * MAINTENANCE_RATE),
            mgn_ratio=_short(ratio) if ratio is not None else None,
            liq_px=_liquidation(instrument, base, mark, position, margin),
            be_px=break_even,
            ccy=USD,
            trade_id=position.trade_id,
            c_time=position.c_time,
            u_time=position.u_time,
            margin=_short(position.margin) if position.isolated else None,
            closing_algos=tuple(
                algo for algo in account.live_algos.values() if algo.close_fraction and algo.leg == position.leg
            ),
        )

    def leverages(self, name: str, inst_id: str, mgn_mode: str) -> list[LeverageInfo]:
        """The leverage of one instrument, of each side in long/short mode."""
        instrument, account = self._state.market.instrument(inst_id), self._state.account(name)
        sides = ("net",) if account.info.pos_mode == NET_MODE else ("long", "short")
        return [LeverageInfo(inst_id, mgn_mode, side, account.leverage(instrument, mgn_mode, side)) for side in sides]

    # Orders

    def orders_pending(
        self, name: str, inst_type: str | None, inst_id: str | None, ord_type: str | None
    ) -> list[Order]:
        """Resting orders, newest first."""
        return [
            o
            for o in reversed(self._state.account(name).open_orders.values())
            if _fits(o, inst_type, inst_id) and ord_type in (None, "", o.ord_type)
        ]

    def orders_history(
        self, name: str, inst_type: str | None, inst_id: str | None, ord_type: str | None, state: str | None
    ) -> list[Order]:
        """Finished orders, newest first."""
        found = [
            o for o in self._state.account(name).finished
            if _fits(o, inst_type, inst_id) and ord_type in (None, "", o.ord_type) and state in (None, "", o.state)
        ]  # fmt: skip
        return sorted(found, key=lambda order: order.ord_id, reverse=True)

    def fills(self, name: str, inst_type: str | None, inst_id: str | None, ord_id: str | None) -> list[Fill]:
        """Fills, newest first."""
        return [
            f
            for f in reversed(self._state.account(name).fills)
            if _fits(f, inst_type, inst_id) and ord_id in (None, "", f.ord_id)
        ]


def _fits(thing: Order | Fill, inst_type: str | None, inst_id: str | None) -> bool:
    return inst_type in (None, "", thing.inst_type) and inst_id in (None, "", thing.inst_id)


def _liquidation(
    instrument: Instrument, base: Decimal, mark: Decimal, position: PositionState, margin: Margin
) -> Decimal | None:
    """About where equity would meet the maintenance margin if only this price moved; None where it never would."""
    slope = base - MAINTENANCE_RATE * abs(base)
    if not slope:
        return None
    if position.isolated:
        spare = position.margin + position.unrealized(mark / instrument.tick_sz * lot_tick_value(instrument))
    else:
        spare = margin.equity - margin.mmr + MAINTENANCE_RATE * abs(base) * mark
    price = (base * mark - spare) / slope
    return (price / instrument.tick_sz).to_integral_value() * instrument.tick_sz if price > 0 else None
