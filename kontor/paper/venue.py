"""The paper venue: one object behind which markets, accounts, orders and their storage work together.

Synchronous and single-threaded. Time is the clock's; every private call first brings the market up to the present, so
that what a caller sees depends on when it asks and never on how often somebody polled. **Whoever answers a client
calls `flush()` first**: it commits everything since the last flush in one transaction and then hands the events to
the subscribers, so that nothing is told that could be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kontor.paper.holdings import AccountBalance, LeverageInfo, Position
from kontor.paper.house import Maintenance
from kontor.paper.model import AccountConfig, AccountInfo, Bill, Instrument
from kontor.paper.venue_markets import VenueMarkets
from kontor.paper.venue_orders import VenueOrders
from kontor.paper.wallet import WalletTransfer


class Venue(VenueMarkets, VenueOrders):
    """A whole paper exchange without a network."""

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

    # What an operator causes

    def set_price(self, inst_id: str, price: Decimal) -> None:
        """Make the price jump here and now, and go on from there; the base's other market jumps with it."""
        self._caught_up()
        self._engine.set_price(inst_id, price)

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
