"""What a running venue consists of, and how resting orders live in it: shared by trading, time and reports."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from decimal import Decimal

from kontor.paper.accounts import Account, Accounts
from kontor.paper.algos.model import CANCELED, AlgoOrder
from kontor.paper.book import UserBook
from kontor.paper.changes import Changes, Feed, Sequences
from kontor.paper.margin import USD, Margin, margin_of
from kontor.paper.market import Market
from kontor.paper.matching import opposite, resting_fills
from kontor.paper.model import ZERO, AccountConfig, AccountInfo, Event, Instrument, Order, VenueError
from kontor.paper.settlement import Settlement


@dataclass(slots=True)
class State:
    """The parts; `step` is the last tick whose effect on resting orders has been booked."""

    market: Market
    accounts: Accounts = field(default_factory=Accounts)
    sequences: Sequences = field(default_factory=Sequences)
    changes: Changes = field(default_factory=Changes)
    feed: Feed = field(default_factory=Feed)
    step: int = 0
    books: list[UserBook] = field(init=False)
    waiting: list[dict[str, AlgoOrder]] = field(init=False)  # live algo orders of each market, oldest first
    active: set[int] = field(default_factory=set)  # markets in which orders may rest or wait
    settlement: Settlement = field(init=False)

    def __post_init__(self) -> None:
        self.books = [UserBook() for _ in self.market.listed]
        self.waiting = [{} for _ in self.market.listed]
        self.settlement = Settlement(self.accounts, self.sequences, self.changes, self.feed)

    def account(self, name: str) -> Account:
        """An account by name, or KeyError."""
        return self.accounts[name]

    def prices(self, inst_id: str) -> tuple[Instrument, int]:
        """An instrument and its last price in ticks."""
        instrument = self.market.instrument(inst_id)
        return instrument, self.market.last_ticks(instrument, self.step)

    def margin(self, account: Account) -> Margin:
        """Where an account stands now."""
        return margin_of(account, self.prices)

    def crowd(self, instrument: Instrument, side: str) -> list[tuple[int, int]]:
        """What the crowd has resting on a side now."""
        last = self.market.last_ticks(instrument, self.step)
        return self.market.depths[instrument.index].left(side, self.step, last)

    def eat(self, instrument: Instrument, side: str, lots: int) -> None:
        """Take lots from the crowd."""
        if lots > 0:
            self.market.depths[instrument.index].eat(side, self.step, lots)
            self.changes.depths.add(instrument.index)

    # Resting orders

    def rest(self, order: Order) -> None:
        """Put an open order into the book, its funds frozen."""
        instrument = self.market.instrument(order.inst_id)
        self.books[instrument.index].add(order)
        self.active.add(instrument.index)
        self.account(order.account).hold(order, instrument, 1)

    def lift(self, order: Order) -> None:
        """Take an open order out of the book, its funds released."""
        instrument = self.market.instrument(order.inst_id)
        self.books[instrument.index].remove(order)
        self.account(order.account).hold(order, instrument, -1)

    def cancel(self, order: Order, source: str, reason: str, at: int) -> None:
        """Close a resting order with what it has."""
        self.lift(order)
        self.settlement.cancel(order, source, reason, at)

    def fill_resting(self, order: Order, px_ticks: int, lots: int, trade_id: str, at: int) -> None:
        """Book a maker's fill."""
        instrument = self.market.instrument(order.inst_id)
        self.settlement.fill(order, instrument, px_ticks, lots, "M", trade_id, at)
        if not order.is_open:
            self.books[instrument.index].remove(order)

    def closable(self, order: Order | AlgoOrder) -> int:
        """How many lots of its position an order could close."""
        held = self.account(order.account).position_lots(order.inst_id)
        return max(0, -held if order.side == "buy" else held)

    def drop_pointless(self, name: str, instrument: Instrument, at: int) -> None:
        """Cancel an account's resting reduce-only orders that have nothing left to reduce."""
        account = self.account(name)
        if not instrument.is_swap:
            return
        pointless = [
            order for order in account.open_orders.values()
            if order.reduce_only and order.inst_id == instrument.inst_id and not self.closable(order)
        ]  # fmt: skip
        for order in pointless:
            self.cancel(order, "17", "Close order was canceled, because the position was already closed.", at)
        for algo in list(account.live_algos.values()):
            bound = algo.cxl_on_close_pos or algo.close_fraction
            if bound and algo.inst_id == instrument.inst_id and not self.closable(algo):
                self.end_algo(algo, CANCELED, at)
                self.note_algo(algo, at)

    # Orders that wait for a price

    def await_price(self, algo: AlgoOrder) -> None:
        """Let a live algo order watch its market."""
        index = self.market.instrument(algo.inst_id).index
        self.waiting[index][algo.algo_id] = algo
        self.active.add(index)

    def end_algo(self, algo: AlgoOrder, state: str, at: int) -> None:
        """Stop an algo order from waiting; the caller notes it once it is complete."""
        algo.state, algo.u_time = state, at
        self.waiting[self.market.instrument(algo.inst_id).index].pop(algo.algo_id, None)
        self.account(algo.account).live_algos.pop(algo.algo_id, None)

    def note_algo(self, algo: AlgoOrder, at: int) -> None:
        """Note that an algo order changed."""
        algo.u_time = at
        self.changes.algos[algo.algo_id] = algo
        if self.feed.listening:
            self.feed.emit(Event("orders-algo", algo.account, algo.inst_id, copy.copy(algo), at))

    # Resting orders and the passing of time

    def match_resting(self, instrument: Instrument, step: int) -> None:
        """Let one tick trade with the book's resting orders."""
        self.step = step
        at, last = step * self.market.tick_ms, self.market.last_ticks(instrument, step)
        depth, book = self.market.depths[instrument.index], self.books[instrument.index]
        traded = depth.crowd(step, last)
        for side in ("buy", "sell"):
            against = opposite(side)
            eaten = 0
            for order, wanted in resting_fills(book, side, last, depth.left(against, step, last), traded):
                lots = min(wanted, self.closable(order)) if order.reduce_only else wanted
                if lots and order.is_open:
                    self.fill_resting(order, order.px_ticks, lots, self.sequences.next_trade(), at)
                    self.drop_pointless(order.account, instrument, at)
                    eaten += lots
            self.eat(instrument, against, eaten - traded)

    # Funds

    def add_account(self, config: AccountConfig, at: int) -> AccountInfo:
        """Make an account with its funds, or give an existing one new secrets."""
        new = config.name not in self.accounts
        before = None if new else self.accounts[config.name].info
        account = self.accounts.put(config)
        if account.info != before:
            self.settlement.touch(account, at)
        for ccy, quantity in config.funds if new else ():
            self.settlement.post(account, ccy, quantity, "deposit", "initial", "", at)
        return account.info

    def deposit(self, name: str, ccy: str, quantity: Decimal, ref: str, at: int) -> None:
        """Move funds in or out."""
        account = self.account(name)
        if quantity < 0 and -quantity > self.free(account, ccy):
            raise VenueError("51131", "Insufficient balance")
        self.settlement.post(account, ccy, quantity, "deposit", ref, "", at)

    def free(self, account: Account, ccy: str) -> Decimal:
        """What of a currency may leave the account or be sold."""
        if ccy == USD:
            return self.margin(account).available_cash
        return account.cash.get(ccy, ZERO) - account.frozen.get(ccy, ZERO)
