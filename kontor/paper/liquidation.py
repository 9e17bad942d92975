"""Liquidation: when a position's margin no longer keeps it, and how it is then closed."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from kontor.paper.accounts import Account, lot_tick_value
from kontor.paper.amendments import Amendments
from kontor.paper.executions import LIQUIDATION
from kontor.paper.instruments import MAINTENANCE_RATE
from kontor.paper.margin import USD, Margin, isolated_ratio, margin_of
from kontor.paper.model import ZERO, Instrument
from kontor.paper.positions import PositionState
from kontor.paper.state import State
from kontor.paper.trading import Trading

_FAR_MINUTES = 3  # farther than this, whole candles are looked at before ticks
_SCAN_MINUTES = 256
_NEAR = 1e-6  # what is this close to the limit, as a part of the cash, is looked at exactly
_RISK_CANCEL = (
    "3",
    "Risk cancellation was triggered. Pending order was canceled due to insufficient maintenance margin ratio.",
)


class Liquidations:
    """Watches accounts with positions, and closes what they cannot keep."""

    def __init__(self, state: State, trading: Trading, amendments: Amendments) -> None:
        self._state = state
        self._trading = trading
        self._amendments = amendments

    def next_step(self, account: Account, first: int, last: int) -> int | None:
        """The first tick in the range at which the account must give up something, if it trades no more until then."""
        held = [
            (self._state.market.instrument(position.inst_id), position)
            for position in account.positions.values()
            if position.lots
        ]
        if not held:
            return None
        per_minute, step = self._state.market.ticks_per_minute, first
        while step <= last:
            minute, place = divmod(step, per_minute)
            if place == 0 and last // per_minute - minute > _FAR_MINUTES:
                quiet = self._quiet_minutes(account, held, minute, last // per_minute)
                if quiet:
                    step += quiet * per_minute
                    continue
            if self.is_due(account, step):
                return step
            step += 1
        return None

    def is_due(self, account: Account, step: int) -> bool:
        """Whether the account must give up something at a tick."""
        margin = self._margin(account, step)
        if margin.mmr and margin.equity - margin.order_frozen < margin.mmr:
            return True
        return any(self._isolated_due(position, step) for position in account.positions.values())

    def _margin(self, account: Account, step: int) -> Margin:
        market = self._state.market

        def prices(inst_id: str) -> tuple[Instrument, int]:
            instrument = market.instrument(inst_id)
            return instrument, market.last_ticks(instrument, step)

        return margin_of(account, prices)

    def _isolated_due(self, position: PositionState, step: int) -> bool:
        if not position.isolated or not position.lots:
            return False
        instrument = self._state.market.instrument(position.inst_id)
        lot_value = self._state.market.last_ticks(instrument, step) * lot_tick_value(instrument)
        return isolated_ratio(position, lot_value) < 1

    def _quiet_minutes(
        self, account: Account, held: list[tuple[Instrument, PositionState]], minute: int, last: int
    ) -> int:
        """How many whole minutes from `minute` on are harmless even if every price is at its worst at once."""
        count = min(_SCAN_MINUTES, last - minute)
        margin = self._margin(account, minute * self._state.market.ticks_per_minute)
        spare = np.full(count, float(margin.cash - margin.order_frozen))
        limit = _NEAR * max(1.0, abs(float(margin.cash)))
        harmless = np.ones(count, dtype=bool)
        crossed = False
        for instrument, position in held:
            worst = self._worst(instrument, position, minute, count)
            if position.isolated:
                harmless &= float(position.margin) + worst > limit
            else:
                spare, crossed = spare + worst, True
        if crossed:
            harmless &= spare > limit
        return count if harmless.all() else int(np.argmin(harmless))

    def _worst(self, instrument: Instrument, position: PositionState, minute: int, count: int) -> NDArray[np.float64]:
        """Profit less maintenance margin at each minute's worst price."""
        market = self._state.market
        bars = market.source.bars(instrument, 1, minute, count)
        ticks = market.rounded(instrument, bars.low if position.lots > 0 else bars.high)
        value = abs(position.lots) * float(lot_tick_value(instrument)) * ticks
        won = value - float(position.entry_value) if position.lots > 0 else float(position.entry_value) - value
        return won - float(MAINTENANCE_RATE) * value

    def carry_out(self, account: Account, at: int) -> None:
        """Take from an account what it cannot keep at the state's present prices: first its orders, then positions."""
        state = self._state
        margin = state.margin(account)
        if margin.mmr and margin.equity - margin.order_frozen < margin.mmr:
            self._amendments.cancel_all(account, *_RISK_CANCEL, at)
            margin = state.margin(account)
            if margin.equity < margin.mmr:
                self.close(account, at, isolated=False)
        for position in list(account.positions.values()):
            if self._isolated_due(position, state.step):
                self._close(account, position, at)

    def close(self, account: Account, at: int, inst_id: str | None = None, *, isolated: bool | None = None) -> None:
        """Liquidate positions: all, those of an instrument, or of one margin mode."""
        for position in list(account.positions.values()):
            if position.lots and inst_id in {None, position.inst_id} and isolated in {None, position.isolated}:
                self._close(account, position, at)

    def _close(self, account: Account, position: PositionState, at: int) -> None:
        """Close a position at the price at which its maintenance margin is used up; a hole is not the account's."""
        state = self._state
        instrument, last = state.prices(position.inst_id)
        worse = MAINTENANCE_RATE + instrument.taker_fee  # the fee comes out of it too
        px_ticks = max(1, int(last * (1 - worse)) if position.lots > 0 else int(last * (1 + worse)) + 1)
        before, isolated = position.margin, position.isolated
        order = self._trading.force(account, position, px_ticks, LIQUIDATION, at)
        cash = account.cash.get(USD, ZERO)
        rest = before + order.fill_pnl + order.fill_fee if isolated else min(ZERO, cash)
        if isolated or not any(each.lots and not each.isolated for each in account.positions.values()):
            self._fill_hole(account, position, -rest, at)
        state.drop_pointless(account.info.name, instrument, at)

    def _fill_hole(self, account: Account, position: PositionState, missing: Decimal, at: int) -> None:
        if missing > 0:
            self._state.settlement.post(
                account,
                at,
                USD,
                missing,
                "clawback",
                inst_id=position.inst_id,
                mgn_mode=position.mgn_mode,
                sub_type="108",
                sz=missing,
            )
