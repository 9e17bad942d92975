"""The paper venue: one object behind which markets, accounts, orders and their storage work together.

Synchronous and single-threaded. Time is the clock's; every private call first brings the market up to the present, so
that what a caller sees depends on when it asks and never on how often somebody polled. **Whoever answers a client
calls `flush()` first**: it commits everything since the last flush in one transaction and then hands the events to
the subscribers, so that nothing is told that could be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from kontor.paper.algos.model import AlgoAck, AlgoOrder
from kontor.paper.clock import PaperClock, VenueClock
from kontor.paper.engine import Engine, LiveMarkets
from kontor.paper.holdings import AccountBalance, LeverageInfo, Position
from kontor.paper.house import Maintenance
from kontor.paper.model import (
    AccountConfig,
    AccountInfo,
    Bill,
    Book,
    CancelAllAfter,
    Candle,
    Event,
    Fill,
    Instrument,
    Order,
    OrderAck,
    PublicTrade,
    Ticker,
    VenueConfig,
    VenueError,
)
from kontor.paper.wallet import WalletTransfer


class Venue:
    """A whole paper exchange without a network."""

    def __init__(
        self,
        config: VenueConfig | None = None,
        *,
        clock: VenueClock | None = None,
        path: str | Path | None = None,
        live: LiveMarkets | None = None,
    ) -> None:
        """Open the venue; `path` is its SQLite file, None keeps everything in memory. `live` replaces the source that
        `config` names.

        `notices` then holds sentences worth logging, such as a seed other than the stored one.
        """
        self.config = config or VenueConfig()
        self.clock: VenueClock = clock or PaperClock()
        self._engine = Engine(self.config, self.clock, path, live)
        self.notices: tuple[str, ...] = self._engine.notices

    # Time and durability

    def now(self) -> int:
        """Venue time in milliseconds."""
        return self.clock.now_ms()

    def advance(self, now_ms: int | None = None) -> None:
        """Bring prices, resting orders and timers up to `now_ms` (default: the clock). Cheap when nothing is due;
        call it every tick or so.
        """
        self._engine.advance(self.clock.now_ms() if now_ms is None else now_ms)

    def flush(self) -> None:
        """Commit what happened, then deliver its events. Raises VenueError 50013 when the file cannot be written;
        nothing is delivered then.
        """
        self._engine.flush()

    def close(self) -> None:
        """Flush and close the file. Calling it again does nothing."""
        self._engine.close()

    def _caught_up(self) -> int:
        now = self.clock.now_ms()
        self._engine.advance(now)
        return now

    # Events

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Deliver every event to `callback` from within `flush()`; returns the way to stop it. A callback must not
        call the venue's trading methods.
        """
        return self._engine.state.feed.subscribe(callback)

    def watch(self, channel: str, inst_id: str, key: str = "") -> None:
        """Ask for `tickers` or `candles` (key: the bar, `1m`) events of an instrument; counted, so that each watch
        needs its unwatch.
        """
        self._engine.state.feed.watch(channel, inst_id, key)

    def unwatch(self, channel: str, inst_id: str, key: str = "") -> None:
        """Take back one `watch`."""
        self._engine.state.feed.unwatch(channel, inst_id, key)

    # Public market data

    def instruments(
        self, inst_type: str | None = None, inst_id: str | None = None, uly: str | None = None
    ) -> list[Instrument]:
        """The instruments that match. An unknown `inst_id` raises VenueError 51001."""
        return self._engine.state.market.instruments(inst_type, inst_id, uly)

    def instrument(self, inst_id: str) -> Instrument:
        """One instrument, or VenueError 51001."""
        return self._engine.state.market.instrument(inst_id)

    def ticker(self, inst_id: str) -> Ticker:
        """The ticker of one instrument, or VenueError 51001."""
        return self.tickers(inst_ids=[inst_id])[0]

    def tickers(self, inst_type: str | None = None, inst_ids: Sequence[str] | None = None) -> list[Ticker]:
        """Tickers of a type, of a list, or of everything; computed together, so ask once for many."""
        return self._engine.reports.tickers(inst_type, inst_ids, self._caught_up())

    def book(self, inst_id: str, depth: int = 20) -> Book:
        """The book, resting user orders included, at most 50 levels a side."""
        return self._engine.reports.book(inst_id, depth, self._caught_up())

    def candles(
        self,
        inst_id: str,
        bar: str = "1m",
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        confirmed_only: bool = False,
    ) -> list[Candle]:
        """Candles newest first, OKX's paging: older than `after`, newer than `before`, both exclusive, in milliseconds.

        With `before` and without `after` the candles nearest the present are cut, as OKX does. `bar` is OKX's (1m 3m 5m
        15m 30m 1H 2H 4H 6H 12H 1D 1W, and 6Hutc 12Hutc 1Dutc 1Wutc); unknown ones raise VenueError 51000. The first row
        may be unfinished (`confirm` False) unless `confirmed_only`.
        """
        return self._engine.state.market.candles(
            inst_id, bar, self.clock.now_ms(), after=after, before=before, limit=limit, confirmed_only=confirmed_only
        )

    def trades(self, inst_id: str, limit: int = 100) -> list[PublicTrade]:
        """The crowd's last trades, newest first: one per tick, at the tick's price."""
        return self._engine.state.market.trades(inst_id, self.clock.now_ms(), limit)

    def mark_price(self, inst_id: str) -> Decimal:
        """The mark price, which is the last price here."""
        return self._engine.state.market.last(self.instrument(inst_id), self.clock.now_ms())

    def price_limit(self, inst_id: str) -> tuple[Decimal, Decimal]:
        """The highest buy and the lowest sell price accepted now."""
        return self._engine.state.market.price_limit(self.instrument(inst_id), self.clock.now_ms())

    def set_price(self, inst_id: str, price: Decimal) -> None:
        """Make the price jump here and now, and go on from there; the base's other market jumps with it."""
        self._caught_up()
        self._engine.set_price(inst_id, price)

    # Accounts

    def account_by_key(self, api_key: str) -> AccountInfo | None:
        """Who signs with this key; None when nobody does."""
        return self._engine.state.accounts.by_key(api_key)

    def account(self, account: str) -> AccountInfo:
        """One account by name, or KeyError."""
        return self._engine.state.accounts[account].info

    def accounts(self) -> list[AccountInfo]:
        """All accounts, in the order they were made."""
        return [book.info for book in self._engine.state.accounts]

    def add_account(self, config: AccountConfig) -> AccountInfo:
        """Make an account or sub-account, or give an existing one new secrets. A key in use elsewhere raises
        ValueError.
        """
        return self._engine.add_account(config, self._caught_up())

    def deposit(self, account: str, ccy: str, quantity: Decimal, ref: str = "") -> None:
        """Move funds in, or out when negative; never below what is free (VenueError 51131)."""
        self._engine.state.deposit(account, ccy, quantity, ref, self._caught_up())

    def wallet(self, account: str) -> dict[str, Decimal]:
        """What the funding account beside the trading account holds, by currency."""
        return dict(self._engine.state.account(account).wallet)

    def fund(self, account: str, ccy: str, quantity: Decimal) -> None:
        """Move money from outside into the funding account, or out of it when negative (VenueError 58350)."""
        self._engine.wallets.deposit(account, ccy, quantity, self._caught_up())

    def transfer(self, account: str, body: Mapping[str, Any]) -> WalletTransfer:
        """Move money as OKX's asset/transfer says: ccy amt from to [type subAcct clientId]; 6 is the funding account,
        18 the trading account. VenueError 58350 beyond what is free.
        """
        return self._engine.wallets.transfer(account, body, self._caught_up())

    def transfer_made(self, account: str, trans_id: str, client_id: str = "") -> WalletTransfer:
        """A recent transfer by either id, or VenueError 58129."""
        return self._engine.wallets.find(account, trans_id, client_id)

    # What an operator causes

    def funding_rate(self, inst_id: str, at: int | None = None) -> Decimal:
        """The funding rate in force now or at another moment."""
        return self._engine.funding.rate(inst_id, self.clock.now_ms() if at is None else at)

    def set_funding_rate(self, inst_id: str, rate: Decimal) -> None:
        """Another rate from now on; long positions pay a positive one."""
        self._engine.funding.set_rate(inst_id, rate, self._caught_up())

    def pay_funding(self, inst_id: str | None = None) -> None:
        """Let every open position, or every one of an instrument, pay and get its funding now."""
        now = self._caught_up()
        self._engine.funding.pay(now, inst_id)
        self._engine.timeline.liquidate_due(self._engine.state.step)

    def liquidate(self, account: str, inst_id: str | None = None) -> None:
        """Liquidate an account's positions, or those of one instrument, whatever its margin."""
        now = self._caught_up()
        self._engine.liquidations.close(self._engine.state.account(account), now, inst_id)

    def suspend(self, inst_id: str, *, on: bool = True) -> Instrument:
        """Stop (or resume) trading in an instrument: orders stay, nothing matches, new ones are 51022."""
        self._caught_up()
        return self._engine.house.suspend(inst_id, on=on)

    def delist(self, inst_id: str, exp_time: int | None) -> Instrument:
        """Announce when an instrument is taken off, or (None) that it stays. Then its orders are canceled, positions
        settled at the last price, and it is no longer listed.
        """
        self._caught_up()
        return self._engine.house.announce(inst_id, exp_time)

    def plan_maintenance(self, maintenance: Maintenance) -> None:
        """Announce maintenance: while it lasts nothing is traded and private endpoints answer 50001."""
        self._caught_up()
        self._engine.house.plan(maintenance)

    def end_maintenance(self) -> int:
        """End what is under way and drop what is planned; how many it were."""
        return self._engine.house.call_off(self._caught_up())

    def maintenance(self) -> list[Maintenance]:
        """What was announced, oldest first."""
        return list(self._engine.house.maintenance)

    def closed(self) -> Maintenance | None:
        """The maintenance under way."""
        return self._engine.house.closed(self.clock.now_ms())

    def balance(self, account: str, ccys: Iterable[str] | None = None) -> AccountBalance:
        """Balances, all currencies that are not zero or those named, with totals in USD."""
        self._caught_up()
        return self._engine.reports.balance(account, ccys)

    def positions(self, account: str, inst_type: str | None = None, inst_id: str | None = None) -> list[Position]:
        """Open positions."""
        self._caught_up()
        return self._engine.reports.positions(account, inst_type, inst_id)

    def leverage(self, account: str, inst_id: str, mgn_mode: str = "cross") -> list[LeverageInfo]:
        """The leverage set for an instrument, 3 if it was never set; one of each side in long/short mode."""
        return self._engine.reports.leverages(account, inst_id, mgn_mode)

    def set_leverage(
        self, account: str, inst_id: str, lever: str, mgn_mode: str = "cross", pos_side: str = ""
    ) -> list[LeverageInfo]:
        """Set it, and say how it stands now; VenueError 59102 beyond the instrument's maximum, 59108 when the margin
        would not suffice, 51000 for anything else. Isolated margin in long/short mode has one for each `pos_side`.
        """
        return self._engine.settings.set_leverage(account, inst_id, lever, mgn_mode, pos_side, self._caught_up())

    def set_position_mode(self, account: str, pos_mode: str) -> None:
        """Net positions (net_mode) or a long and a short one (long_short_mode); VenueError 59000 while there are
        positions or orders.
        """
        self._engine.settings.set_position_mode(account, pos_mode, self._caught_up())

    def set_fee_currency(self, account: str, fee_ccy: str) -> None:
        """Pay fees in base, quote or a coin (where the account has enough of it); '' is OKX's own rule."""
        self._engine.settings.set_fee_currency(account, fee_ccy, self._caught_up())

    def bills(self, account: str) -> list[Bill]:
        """The account's cash movements that are kept, newest first."""
        return self._engine.state.accounts[account].bills_newest_first()

    # Trading: bodies are OKX's request objects as they came, strings or JSON numbers. An answer's `s_code` tells a
    # refusal; nothing is raised.

    def place_order(self, account: str, body: Mapping[str, Any]) -> OrderAck:
        """Place one order: instId tdMode side ordType sz [px clOrdId tag tgtCcy reduceOnly posSide stpMode]."""
        return self._engine.trading.place(account, body, self._caught_up())

    def place_orders(self, account: str, bodies: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Place several (at most 20, the server's check); each has its own answer."""
        return [self._engine.trading.place(account, body, self._caught_up()) for body in bodies]

    def cancel_order(self, account: str, body: Mapping[str, Any]) -> OrderAck:
        """Cancel by ordId or clOrdId: 51400 unknown, 51401 canceled already, 51402 filled already."""
        return self._engine.amendments.cancel(account, body, self._caught_up())

    def cancel_orders(self, account: str, bodies: Sequence[Mapping[str, Any]]) -> list[OrderAck]:
        """Cancel several; each has its own answer."""
        return [self._engine.amendments.cancel(account, body, self._caught_up()) for body in bodies]

    def amend_order(self, account: str, body: Mapping[str, Any]) -> OrderAck:
        """Change newSz and newPx of a resting limit order; cxlOnFail is honoured. It keeps its place in the queue
        only when it gets smaller.
        """
        return self._engine.amendments.amend(account, body, self._caught_up())

    def place_algo(self, account: str, body: Mapping[str, Any]) -> AlgoAck:
        """Place an algo order: instId tdMode side ordType (conditional, oco, trigger, move_order_stop), sz or
        closeFraction, and the prices it waits for.
        """
        return self._engine.algos.place(account, body, self._caught_up())

    def cancel_algos(self, account: str, bodies: Sequence[Mapping[str, Any]]) -> list[AlgoAck]:
        """Cancel several by algoId or algoClOrdId; each has its own answer: 51400 unknown, 51401 canceled already,
        51402 triggered already.
        """
        return [self._engine.algos.cancel(account, body, self._caught_up()) for body in bodies]

    def amend_algo(self, account: str, body: Mapping[str, Any]) -> AlgoAck:
        """Change newSz and the prices of one that waits (newSlTriggerPx, newSlOrdPx, newTp..., newTriggerPx, newOrdPx);
        cxlOnFail is honoured.
        """
        return self._engine.algo_amendments.amend(account, body, self._caught_up())

    def algo(self, account: str, algo_id: str = "", algo_cl_ord_id: str = "") -> AlgoOrder:
        """An algo order by either id (algoId wins), live or recent: VenueError 51603 when there is none."""
        self._caught_up()
        return self._engine.algos.one(self._engine.state.account(account), algo_id, algo_cl_ord_id)

    def algos_pending(self, account: str) -> list[AlgoOrder]:
        """Algo orders that wait, newest first; page by `algo_id`, which grows with time."""
        self._caught_up()
        return self._engine.algos.pending(self._engine.state.account(account))

    def algos_history(self, account: str) -> list[AlgoOrder]:
        """Algo orders that have ended and are kept (the last 20,000), newest first."""
        self._caught_up()
        return self._engine.algos.history(self._engine.state.account(account))

    def cancel_all_after(self, account: str, timeout_seconds: int) -> CancelAllAfter:
        """Cancel every resting order `timeout_seconds` (10 to 120; 0 disarms) from now unless called again.
        VenueError 51000 outside that.
        """
        return self._engine.timeline.cancel_all_after(account, timeout_seconds, self._caught_up())

    def order(self, account: str, inst_id: str, ord_id: str | None = None, cl_ord_id: str | None = None) -> Order:
        """An order by either id (ordId wins), live or recent: VenueError 51603 when there is none."""
        self._caught_up()
        order = self._engine.amendments.find(self._engine.state.account(account), inst_id, ord_id, cl_ord_id)
        if order is None:
            raise VenueError("51603", "Order does not exist")
        return order

    def orders_pending(
        self, account: str, inst_type: str | None = None, inst_id: str | None = None, ord_type: str | None = None
    ) -> list[Order]:
        """Resting orders, newest first; page by `ord_id`, which grows with time."""
        self._caught_up()
        return self._engine.reports.orders_pending(account, inst_type, inst_id, ord_type)

    def orders_history(
        self,
        account: str,
        inst_type: str | None = None,
        inst_id: str | None = None,
        ord_type: str | None = None,
        state: str | None = None,
    ) -> list[Order]:
        """Finished orders that are kept (the last 20,000), newest first."""
        self._caught_up()
        return self._engine.reports.orders_history(account, inst_type, inst_id, ord_type, state)

    def fills(
        self, account: str, inst_type: str | None = None, inst_id: str | None = None, ord_id: str | None = None
    ) -> list[Fill]:
        """Fills that are kept (the last 50,000), newest first; page by `bill_id`, filter time by `ts`."""
        self._caught_up()
        return self._engine.reports.fills(account, inst_type, inst_id, ord_id)
