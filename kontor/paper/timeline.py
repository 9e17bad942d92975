"""Time passing: everything that happens by itself up to a moment, in the order of time and however often somebody asks.

Switches go off, instruments are taken off, funding is paid, ticks reach what rests and what waits, accounts are
liquidated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from kontor.paper.algos.desk import AlgoDesk
from kontor.paper.amendments import Amendments
from kontor.paper.funding import INTERVAL_MS, Funding, next_funding
from kontor.paper.house import LIVE, House
from kontor.paper.intake import parameter_error
from kontor.paper.liquidation import Liquidations
from kontor.paper.model import CancelAllAfter, Instrument
from kontor.paper.state import State

_SHORTEST_SWITCH, _LONGEST_SWITCH = 10, 120  # seconds
_SCAN_MINUTES = 256
_FAR_MINUTES = 3  # farther than this, whole candles are looked at before ticks
_NOWHERE = 2**62  # a price, in ticks, that is never reached
# What happens at one moment happens in this order; a stop comes before the liquidation it would have prevented.
_SWITCH, _LISTING, _FUNDING, _TICK, _LIQUIDATION = range(5)
_Due = tuple[int, int, str | int]  # when, what, and whose: an account's name or an instrument's place


class Timeline:
    """Moves a State through time."""

    def __init__(
        self,
        state: State,
        algos: AlgoDesk,
        amendments: Amendments,
        funding: Funding,
        liquidations: Liquidations,
        house: House,
    ) -> None:
        self._state = state
        self._algos = algos
        self._amendments = amendments
        self._funding = funding
        self._liquidations = liquidations
        self._house = house
        self._switches: dict[str, int] = {}  # accounts with an armed dead man's switch, and when it goes off

    def resume(self) -> None:
        """Take over the switches of stored accounts."""
        self._switches = {a.info.name: a.cancel_after for a in self._state.accounts if a.cancel_after}

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due up to `now_ms`."""
        state, market = self._state, self._state.market
        target = market.step(now_ms)
        if target <= state.step and not (self._switches and min(self._switches.values()) <= now_ms):
            return
        due: list[_Due] = [*self._fixed(now_ms), *self._crossings(state.step, target)]
        due += [
            (step * market.tick_ms, _LIQUIDATION, account.info.name)
            for account in state.accounts
            if (step := self._liquidations.next_step(account, state.step + 1, target)) is not None
        ]
        heapq.heapify(due)
        state.settlement.touched.clear()
        while due:
            at, kind, what = heapq.heappop(due)
            for following in self._happen(at, kind, what, target):
                heapq.heappush(due, following)
            for following in self._endangered(at, target):
                heapq.heappush(due, following)
        state.step = max(state.step, target)

    def _fixed(self, now_ms: int) -> Iterator[_Due]:
        """What is due at moments known beforehand."""
        for name, deadline in self._switches.items():
            if deadline <= now_ms:
                yield deadline, _SWITCH, name
        for exp_time, index in self._house.due(now_ms):
            yield exp_time, _LISTING, index
        for at in range(next_funding(self._state.step * self._state.market.tick_ms), now_ms + 1, INTERVAL_MS):
            yield at, _FUNDING, ""

    def _happen(self, at: int, kind: int, what: str | int, target: int) -> Iterator[_Due]:
        """Let one thing happen; what of the same kind follows."""
        state = self._state
        step = at // state.market.tick_ms
        if kind == _SWITCH:
            self._go_off(str(what), at)
            return
        state.step = max(state.step, step)
        if kind == _FUNDING:
            self._funding.pay(at)
        elif kind == _LISTING:
            self._house.take_off(state.market.listed[int(what)], at)
        elif kind == _TICK:
            instrument = state.market.listed[int(what)]
            self.trade(instrument, step)
            following = self._next_crossing(instrument, step + 1, target)
            if following is not None:
                yield following * state.market.tick_ms, _TICK, instrument.index
        else:
            account = state.account(str(what))
            if self._liquidations.is_due(account, step) and not self._house.closed(at):
                self._liquidations.carry_out(account, at)
            else:
                later = self._liquidations.next_step(account, step + 1, target)
                if later is not None:
                    yield later * state.market.tick_ms, _LIQUIDATION, account.info.name

    def _endangered(self, at: int, target: int) -> Iterator[_Due]:
        """When accounts that have just changed must give up something; from the present tick on."""
        state = self._state
        for name in sorted(state.settlement.touched):
            step = self._liquidations.next_step(state.account(name), state.step, target)
            if step is not None:
                yield max(at, step * state.market.tick_ms), _LIQUIDATION, name
        state.settlement.touched.clear()

    def trade(self, instrument: Instrument, step: int) -> None:
        """Let a tick trade with what rests and fire what waits, unless nothing is traded."""
        if self._open(instrument, step):
            self._state.match_resting(instrument, step)
            self._algos.fire_due(instrument, step)

    def jump(self, instrument: Instrument, step: int) -> None:
        """The same after the price has jumped within the tick."""
        if self._open(instrument, step):
            if self._state.books[instrument.index]:
                self._state.match_resting(instrument, step)
            self._algos.jump(instrument, step)

    def liquidate_due(self, step: int) -> None:
        """Look at every account at the present tick again."""
        at = step * self._state.market.tick_ms
        for account in self._state.accounts:
            if self._liquidations.is_due(account, step) and not self._house.closed(at):
                self._liquidations.carry_out(account, at)

    def _open(self, instrument: Instrument, step: int) -> bool:
        return instrument.state == LIVE and self._house.closed(step * self._state.market.tick_ms) is None

    def _crossings(self, since: int, target: int) -> Iterator[_Due]:
        state = self._state
        for index in sorted(state.active):
            if not state.books[index] and not state.waiting[index]:
                state.active.discard(index)
                continue
            step = self._next_crossing(state.market.listed[index], since + 1, target)
            if step is not None:
                yield step * state.market.tick_ms, _TICK, index

    def _next_crossing(self, instrument: Instrument, first: int, last: int) -> int | None:
        """The first tick in the range at which something that rests or waits in this market is reached."""
        trailing = self._algos.next_trailing(instrument, last) if self._state.waiting[instrument.index] else None
        fixed = self._next_reached(instrument, first, last if trailing is None else trailing)
        if fixed is None and trailing is not None:
            return max(first, trailing)
        return fixed

    def _next_reached(self, instrument: Instrument, first: int, last: int) -> int | None:
        """The first tick in the range at which the market trades at or through a fixed price of a resting order or of
        one that waits.
        """
        market = self._state.market
        low, high = self._bounds(instrument)
        if low < 0 and high == _NOWHERE:
            return None
        per_minute, step = market.ticks_per_minute, first
        while step <= last:
            minute = step // per_minute
            if last // per_minute - minute > _FAR_MINUTES and step % per_minute == 0:
                minute = self._next_minute(instrument, minute, last // per_minute, low, high)
                step = minute * per_minute
            row = market.minute_ticks(instrument, minute)
            for place in range(step - minute * per_minute, min(per_minute, last - minute * per_minute + 1)):
                if row[place] <= low or row[place] >= high:
                    return minute * per_minute + place
            step = (minute + 1) * per_minute
        return None

    def _bounds(self, instrument: Instrument) -> tuple[int, int]:
        """Between these prices, in ticks, nothing happens."""
        book = self._state.books[instrument.index]
        bid, ask = book.best("buy"), book.best("sell")
        low, high = (-1 if bid is None else bid), (_NOWHERE if ask is None else ask)
        for algo in self._state.waiting[instrument.index].values():
            for wait in algo.waits:
                ticks = int(wait.px / instrument.tick_sz)
                low, high = (low, min(high, ticks)) if wait.rises else (max(low, ticks), high)
        return low, high

    def _next_minute(self, instrument: Instrument, minute: int, last: int, low: int, high: int) -> int:
        """The first minute before `last` whose candle reaches a price, else `last`."""
        market = self._state.market
        while minute < last:
            count = min(_SCAN_MINUTES, last - minute)
            bars = market.source.bars(instrument, 1, minute, count)
            hits = (market.rounded(instrument, bars.low) <= low) | (market.rounded(instrument, bars.high) >= high)
            if hits.any():
                return minute + int(hits.argmax())
            minute += count
        return last

    # The dead man's switch

    def _go_off(self, name: str, at: int) -> None:
        self._switches.pop(name, None)
        account = self._state.account(name)
        account.cancel_after = 0
        self._amendments.cancel_all(account, "20", "Cancel all after triggered.", at)
        self._state.settlement.touch(account, at)

    def cancel_all_after(self, name: str, timeout_seconds: int, at: int) -> CancelAllAfter:
        """Arm, re-arm or (0) disarm the dead man's switch."""
        if timeout_seconds and not _SHORTEST_SWITCH <= timeout_seconds <= _LONGEST_SWITCH:
            raise parameter_error("timeOut")
        account = self._state.account(name)
        account.cancel_after = at + timeout_seconds * 1000 if timeout_seconds else 0
        self._switches.pop(name, None)
        if account.cancel_after:
            self._switches[name] = account.cancel_after
        self._state.settlement.touch(account, at)
        return CancelAllAfter(account.cancel_after, at)
