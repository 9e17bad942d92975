"""The venue's engine: composes its parts, moves time, keeps everything on disk and tells what happened."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from kontor.paper.account_settings import AccountSettings
from kontor.paper.algos.amend import AlgoAmendments
from kontor.paper.algos.desk import AlgoDesk
from kontor.paper.amendments import Amendments
from kontor.paper.clock import VenueClock
from kontor.paper.funding import Funding
from kontor.paper.house import House
from kontor.paper.instruments import instruments_like, make_instruments
from kontor.paper.journal import Journal
from kontor.paper.liquidation import Liquidations
from kontor.paper.market import Market
from kontor.paper.model import (
    AccountConfig,
    AccountInfo,
    Event,
    Instrument,
    VenueConfig,
)
from kontor.paper.prices.live import LiveSource
from kontor.paper.prices.replay import ReplaySource
from kontor.paper.prices.shocks import ShockedSource
from kontor.paper.prices.source import PriceSource
from kontor.paper.prices.synthetic import SyntheticSource
from kontor.paper.reports import Reports
from kontor.paper.state import State
from kontor.paper.timeline import Timeline
from kontor.paper.trading import Trading
from kontor.paper.wallet import Wallets

_REPLAY = "replay:"
_MISSED_CANDLES = 5  # at most so many finished candles are pushed late


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
        self.settings = AccountSettings(self.state, self.reports)
        self.amendments = Amendments(self.state, self.trading)
        self.algos = AlgoDesk(self.state, self.trading)
        self.algo_amendments = AlgoAmendments(self.state, self.algos)
        self.funding, self.house = Funding(self.state, config.funding_rate), House(self.state, self.trading)
        self.wallets = Wallets(self.state)
        self.liquidations = Liquidations(self.state, self.trading, self.amendments)
        self.timeline = Timeline(self.state, self.algos, self.amendments, self.funding, self.liquidations, self.house)
        self._pushed: dict[tuple[str, str], int] = {}  # the last candle pushed, by instrument and bar
        self._pushed_step = -1
        self._facts = {**source.settings(), "markets": str(len(self.state.market.listed))}
        self._unsaved = any(stored.get(name) != value for name, value in self._facts.items())
        self.notices = tuple(_notices(stored, self._facts))
        self.state.step = self.state.market.step(clock.now_ms())
        if self._journal:
            if "house" in stored:
                self.house.restore(stored["house"])
                self.funding.restore(stored["funding"])
            self._journal.load(self.state)
            self.timeline.resume()
        for account in config.accounts:
            self.state.add_account(account, clock.now_ms())
        self.flush()

    # Time

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due up to `now_ms`."""
        self.timeline.advance(now_ms)

    def set_price(self, inst_id: str, price: Decimal) -> None:
        """Move a market to a price at once, and let it trade there with what rests and waits."""
        if not price > 0:
            raise ValueError(f"{inst_id}: a price of {price} cannot be set; it must be above 0")
        market, step = self.state.market, self.state.step
        for concerned in market.set_price(market.instrument(inst_id), price, step):
            self.timeline.jump(concerned, step)
        self.timeline.liquidate_due(step)
        self.state.changes.shocked = True
        self._pushed_step = -1

    # Accounts

    def add_account(self, config: AccountConfig, at: int) -> AccountInfo:
        """Make an account, or give it new secrets."""
        return self.state.add_account(config, at)

    # Durability and events

    def flush(self) -> None:
        """Commit what happened, then tell about it."""
        changes, state = self.state.changes, self.state
        if self._journal and (changes or self._unsaved):
            own = {"house": self.house.stored(), "funding": self.funding.stored()} if changes.settings else {}
            self._journal.write(state, {**self._facts, **own, "now": str(self._clock.now_ms())})
            self._unsaved = False
        told = list(self._account_events()) if changes and state.feed.listening else []
        changes.clear()
        if state.feed.listening:
            told.extend(self._public_events())
        state.feed.deliver(told)

    def _account_events(self) -> Iterator[Event]:
        """A picture of every position and account that changed."""
        for (name, leg), position in self.state.changes.positions.items():
            yield Event(
                "positions",
                name,
                leg.inst_id,
                self.reports.position(self.state.account(name), position),
                position.u_time,
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
