"""The venue's engine: composes its parts, moves time, keeps everything on disk and tells what happened."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from kontor.paper.algos.amend import AlgoAmendments
from kontor.paper.algos.desk import AlgoDesk
from kontor.paper.amendments import Amendments
from kontor.paper.clock import VenueClock
from kontor.paper.instruments import instruments_like, make_instruments
from kontor.paper.intake import parameter_error, positive
from kontor.paper.journal import Journal
from kontor.paper.market import Market
from kontor.paper.model import (
    AccountConfig,
    AccountInfo,
    CancelAllAfter,
    Event,
    Instrument,
    LeverageInfo,
    VenueConfig,
    VenueError,
)
from kontor.paper.prices.live import LiveSource
from kontor.paper.prices.replay import ReplaySource
from kontor.paper.prices.shocks import ShockedSource
from kontor.paper.prices.source import PriceSource
from kontor.paper.prices.synthetic import SyntheticSource
from kontor.paper.reports import Reports
from kontor.paper.state import State
from kontor.paper.trading import Trading

_REPLAY = "replay:"
_SHORTEST_SWITCH, _LONGEST_SWITCH = 10, 120  # seconds
_SCAN_MINUTES = 256
_FAR_MINUTES = 3  # farther than this, whole candles are looked at before ticks
_MISSED_CANDLES = 5  # at most so many finished candles are pushed late
_NOWHERE = 2**62  # a price, in ticks, that is never reached
_Due = tuple[int, int, str | int]  # when, 0 for a switch or 1 for a tick, and whose


class LiveMarkets(Protocol):
    """Markets of another exchange: what is listed, and its prices."""

    instruments: tuple[Instrument, ...]
    source: LiveSource


class Engine:
    """One venue, opened."""

    def __init__(
        self, config: VenueConfig, clock: VenueClock, path: str | Path | None, live: LiveMarkets | None = None
    ) -> None:
        self._clock = clock
        self._journal = Journal(path) if path is not None else None
        stored = self._journal.settings() if self._journal else {}
        clock.resume_at(int(stored.get("now", 0)))
        source = live.source if live else _source(config, clock.now_ms(), stored)
        self.state = State(Market(live.instruments, ShockedSource(source)) if live else _market(config, source))
        if live:
            live.source.on_change = self.state.market.forget
        self.trading, self.reports = Trading(self.state), Reports(self.state)
        self.amendments = Amendments(self.state, self.trading)
        self.algos = AlgoDesk(self.state, self.trading)
        self.algo_amendments = AlgoAmendments(self.state, self.algos)
        self._switches: dict[str, int] = {}  # accounts with an armed dead man's switch, and when it goes off
        self._pushed: dict[tuple[str, str], int] = {}  # the last candle pushed, by instrument and bar
        self._pushed_step = -1
        self._settings = {**source.settings(), "markets": str(len(self.state.market.listed))}
        self._unsaved = any(stored.get(name) != value for name, value in self._settings.items())
        self.notices = tuple(_notices(stored, self._settings))
        self.state.step = self.state.market.step(clock.now_ms())
        if self._journal:
            self._journal.load(self.state)
            self._switches = {a.info.name: a.cancel_after for a in self.state.accounts if a.cancel_after}
        for account in config.accounts:
            self.state.add_account(account, clock.now_ms())
        self.flush()

    # Time

    def advance(self, now_ms: int) -> None:
        """Let every tick up to `now_ms` trade with the resting orders, and switches go off, in the order of time."""
        state = self.state
        target = state.market.step(now_ms)
        if target <= state.step and not (self._switches and min(self._switches.values()) <= now_ms):
            return
        due: list[_Due] = [(deadline, 0, name) for name, deadline in self._switches.items() if deadline <= now_ms]
        due.extend(self._crossings(state.step, target))
        heapq.heapify(due)
        while due:
            at, kind, what = heapq.heappop(due)
            if kind == 0:
                self._go_off(str(what), at)
                continue
            instrument, step = state.market.listed[int(what)], at // state.market.tick_ms
            state.match_resting(instrument, step)
            self.algos.fire_due(instrument, step)
            following = self._next_crossing(instrument, step + 1, target)
            if following is not None:
                heapq.heappush(due, (following * state.market.tick_ms, 1, instrument.index))
        state.step = max(state.step, target)

    def _crossings(self, since: int, target: int) -> Iterator[_Due]:
        state = self.state
        for index in sorted(state.active):
            if not state.books[index] and not state.waiting[index]:
                state.active.discard(index)
                continue
            step = self._next_crossing(state.market.listed[index], since + 1, target)
            if step is not None:
                yield step * state.market.tick_ms, 1, index

    def _next_crossing(self, instrument: Instrument, first: int, last: int) -> int | None:
        """The first tick in the range at which something that rests or waits in this market is reached."""
        trailing = self.algos.next_trailing(instrument, last) if self.state.waiting[instrument.index] else None
        fixed = self._next_reached(instrument, first, last if trailing is None else trailing)
        return trailing if fixed is None else fixed

    def _next_reached(self, instrument: Instrument, first: int, last: int) -> int | None:
        """The first tick in the range at which the market trades at or through a fixed price of a resting order or of
        one that waits.
        """
        market = self.state.market
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
        book = self.state.books[instrument.index]
        bid, ask = book.best("buy"), book.best("sell")
        low, high = (-1 if bid is None else bid), (_NOWHERE if ask is None else ask)
        for algo in self.state.waiting[instrument.index].values():
            for wait in algo.waits:
                ticks = int(wait.px / instrument.tick_sz)
                low, high = (low, min(high, ticks)) if wait.rises else (max(low, ticks), high)
        return low, high

    def _next_minute(self, instrument: Instrument, minute: int, last: int, low: int, high: int) -> int:
        """The first minute before `last` whose candle reaches a price, else `last`."""
        market = self.state.market
        while minute < last:
            count = min(_SCAN_MINUTES, last - minute)
            bars = market.source.bars(instrument, 1, minute, count)
            hits = (market.rounded(instrument, bars.low) <= low) | (market.rounded(instrument, bars.high) >= high)
            if hits.any():
                return minute + int(hits.argmax())
            minute += count
        return last

    def set_price(self, inst_id: str, price: Decimal) -> None:
        """Move a market to a price at once, and let it trade there with what rests."""
        if not price > 0:
            raise ValueError(f"{inst_id}: a price of {price} cannot be set; it must be above 0")
        market, step = self.state.market, self.state.step
        for concerned in market.set_price(market.instrument(inst_id), price, step):
            if self.state.books[concerned.index]:
                self.state.match_resting(concerned, step)
            self.algos.jump(concerned, step)
        self.state.changes.shocked = True
        self._pushed_step = -1

    def _go_off(self, name: str, at: int) -> None:
        self._switches.pop(name, None)
        account = self.state.account(name)
        account.cancel_after = 0
        self.amendments.cancel_all(account, "20", "Cancel all after triggered.", at)
        self.state.settlement.touch(account, at)

    def cancel_all_after(self, name: str, timeout_seconds: int, at: int) -> CancelAllAfter:
        """Arm, re-arm or (0) disarm the dead man's switch."""
        if timeout_seconds and not _SHORTEST_SWITCH <= timeout_seconds <= _LONGEST_SWITCH:
            raise parameter_error("timeOut")
        account = self.state.account(name)
        account.cancel_after = at + timeout_seconds * 1000 if timeout_seconds else 0
        self._switches.pop(name, None)
        if account.cancel_after:
            self._switches[name] = account.cancel_after
        self.state.settlement.touch(account, at)
        return CancelAllAfter(account.cancel_after, at)

    # Accounts

    def add_account(self, config: AccountConfig, at: int) -> AccountInfo:
        """Make an account, or give it new secrets."""
        return self.state.add_account(config, at)

    def set_leverage(self, name: str, inst_id: str, lever: str, mgn_mode: str, at: int) -> LeverageInfo:
        """Set an instrument's leverage."""
        instrument = self.state.market.instrument(inst_id)
        if not instrument.is_swap:
            raise parameter_error("instId")
        if mgn_mode != "cross":
            raise parameter_error("mgnMode")
        wanted = positive(lever, "lever")
        if wanted > instrument.max_lever:
            raise VenueError("59102", "Leverage exceeds the maximum limit. Please lower the leverage.")
        if wanted < 1:
            raise VenueError("59105", "Leverage cannot be less than 1. Please raise the leverage.")
        account = self.state.account(name)
        before = account.leverage(instrument)
        account.leverages[inst_id] = wanted
        if wanted < before and self.state.margin(account).available_equity < 0:
            account.leverages[inst_id] = before
            raise VenueError("59108", "Low leverage and insufficient margin. Please adjust the leverage.")
        self.state.settlement.touch(account, at)
        return self.reports.leverage(name, inst_id, mgn_mode)

    # Durability and events

    def flush(self) -> None:
        """Commit what happened, then tell about it."""
        changes, state = self.state.changes, self.state
        if self._journal and (changes or self._unsaved):
            self._journal.write(state, {**self._settings, "now": str(self._clock.now_ms())})
            self._unsaved = False
        told = list(self._account_events()) if changes and state.feed.listening else []
        changes.clear()
        if state.feed.listening:
            told.extend(self._public_events())
        state.feed.deliver(told)

    def _account_events(self) -> Iterator[Event]:
        """A picture of every position and account that changed."""
        for (name, inst_id), position in self.state.changes.positions.items():
            yield Event(
                "positions", name, inst_id, self.reports.position(self.state.account(name), position), position.u_time
            )
        for name, account in self.state.changes.accounts.items():
            yield Event("account", name, "", self.reports.balance(name, None), account.u_time)

    def _public_events(self) -> Iterator[Event]:
        """What is watched, once per tick."""
        state = self.state
        if state.step == self._pushed_step:
            return
        self._pushed_step, now = state.step, state.step * state.market.tick_ms
        watched = [inst_id for inst_id, _ in state.feed.watched("tickers")]
        if watched:
            for ticker in self.reports.tickers(None, watched, now):
                yield Event("tickers", "", ticker.inst_id, ticker, now)
        for inst_id, bar in state.feed.watched("candles"):
            since = self._pushed.get((inst_id, bar))
            after = None if since is None else since - 1
            rows = state.market.candles(
                inst_id,
                bar,
                now,
                after=None,
                before=after,
                limit=1 if since is None else _MISSED_CANDLES,
                confirmed_only=False,
            )
            for candle in reversed(rows):
                yield Event("candles", "", inst_id, candle, now, bar)
                self._pushed[inst_id, bar] = candle.ts

    def close(self) -> None:
        """Flush and let go of the file."""
        if self._journal:
            self.flush()
            self._journal.close()
            self._journal = None


def _source(config: VenueConfig, now_ms: int, stored: dict[str, str]) -> PriceSource:
    if config.source == "synthetic":
        return SyntheticSource(config.seed, config.tick_ms)
    if not config.source.startswith(_REPLAY):
        raise ValueError(
            f"price source {config.source!r}: expected synthetic or replay:FOLDER; live prices need a feed"
        )
    source = ReplaySource(config.source.removeprefix(_REPLAY), config.tick_ms)
    if stored.get("source") == config.source and "shift" in stored:
        source.shift = int(stored["shift"])
    else:
        source.align(now_ms, config.replay_warmup)
    return source


def _market(config: VenueConfig, source: PriceSource) -> Market:
    listed = (
        instruments_like(source.first_prices())
        if isinstance(source, ReplaySource)
        else make_instruments(config.markets)
    )
    return Market(listed, ShockedSource(source))


def _notices(stored: dict[str, str], settings: dict[str, str]) -> Iterator[str]:
    """A sentence for every setting that is not what the stored state was made with."""
    for name, value in settings.items():
        before = stored.get(name)
        if before is not None and before != value:
            yield (
                f"paper exchange: {name} was {before} in the stored state and is {value} now; "
                "prices are not what its orders saw"
            )
