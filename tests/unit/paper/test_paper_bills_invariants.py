"""Random lives of accounts: whatever befalls them, every balance is the sum of its bills, before a crash and after."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kontor.paper.clock import ManualClock
from kontor.paper.house import Maintenance
from kontor.paper.model import AccountConfig, VenueConfig, VenueError
from kontor.paper.venue import Venue

START = 1_760_000_000_000
ZERO = Decimal(0)
ACCOUNTS = ("main", "sub")
SWAPS = ("BTC-USD-SWAP", "DOGE-USD-SWAP")
MARKETS = (*SWAPS, "BTC-USD")
accounts, swaps = st.sampled_from(ACCOUNTS), st.sampled_from(SWAPS)
sides, modes = st.sampled_from(["buy", "sell"]), st.sampled_from(["cross", "isolated"])


def open_venue(clock: ManualClock, path: Path) -> Venue:
    configs = (
        AccountConfig("main", "key-main", "secret", "phrase", (("USD", Decimal(20_000)), ("BNB", Decimal(1)))),
        AccountConfig("sub", "key-sub", "secret", "phrase", (("USD", Decimal(20_000)),), parent="main"),
    )
    return Venue(VenueConfig(markets=16, seed=5, accounts=configs), clock=clock, path=path)


def picture(venue: Venue) -> dict[str, Any]:
    return {
        name: (
            venue.bills(name),
            [replace(each, u_time=0) for each in venue.balance(name).details],  # a changed setting moves it too
            venue.positions(name),
            venue.orders_pending(name),
            venue.algos_pending(name),
            venue.algos_history(name),
            venue.wallet(name),
        )
        for name in ACCOUNTS
    }


class Lives(RuleBasedStateMachine):
    """Two accounts trade, are moved about, and suffer what an exchange can do to them."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "paper.sqlite"
        self.clock = ManualClock(START)
        self.venue = open_venue(self.clock, self.path)

    @rule(name=accounts, inst_id=swaps, side=sides, mode=modes, usd=st.integers(100, 40_000), near=st.booleans())
    def trade(self, name: str, inst_id: str, side: str, mode: str, usd: int, *, near: bool) -> None:
        instrument, last = self.venue.instrument(inst_id), self.venue.mark_price(inst_id)
        lots = max(1, int(usd / (last * instrument.ct_val * instrument.lot_sz)))
        away = 3 if (side == "sell") == near else -3
        body = {"instId": inst_id, "tdMode": mode, "side": side, "sz": str(lots * instrument.lot_sz)}
        body |= {"ordType": "limit", "px": str(last + away * instrument.tick_sz)} if near else {"ordType": "market"}
        self.venue.place_order(name, body)

    @rule(name=accounts, side=sides, usd=st.integers(10, 5_000))
    def buy_coins(self, name: str, side: str, usd: int) -> None:
        quantity = (usd / self.venue.mark_price("BTC-USD")).quantize(Decimal("0.00001"))
        body = {"instId": "BTC-USD", "tdMode": "cash", "side": side, "ordType": "market", "tgtCcy": "base_ccy"}
        self.venue.place_order(name, body | {"sz": str(quantity)})

    @rule(name=accounts, inst_id=swaps, mode=modes, away=st.integers(1, 300), kind=st.sampled_from(["stop", "trail"]))
    def protect(self, name: str, inst_id: str, mode: str, away: int, kind: str) -> None:
        held = [p for p in self.venue.positions(name) if (p.inst_id, p.mgn_mode) == (inst_id, mode)]
        if not held:
            return
        tick, long = self.venue.instrument(inst_id).tick_sz, held[0].pos > 0
        trigger = self.venue.mark_price(inst_id) + (-away if long else away) * tick
        body: dict[str, Any] = {"instId": inst_id, "tdMode": mode, "side": "sell" if long else "buy"}
        body |= {"sz": str(abs(held[0].pos)), "reduceOnly": True}
        if kind == "stop":
            body |= {"ordType": "conditional", "slTriggerPx": str(trigger), "slOrdPx": "-1"}
        else:
            body |= {"ordType": "move_order_stop", "callbackSpread": str(away * tick)}
        assert self.venue.place_algo(name, body).s_code in {"0", "51275"}

    @rule(name=accounts, inst_id=swaps, mode=modes, lever=st.sampled_from(["1", "5", "20"]))
    def lever(self, name: str, inst_id: str, mode: str, lever: str) -> None:
        with suppress(VenueError):
            self.venue.set_leverage(name, inst_id, lever, mode)

    @rule(inst_id=st.sampled_from(MARKETS), percent=st.integers(-12, 12))
    def jump(self, inst_id: str, percent: int) -> None:
        instrument = self.venue.instrument(inst_id)
        ticks = int(self.venue.mark_price(inst_id) * (100 + percent) / 100 / instrument.tick_sz)
        self.venue.set_price(inst_id, max(1, ticks) * instrument.tick_sz)

    @rule(seconds=st.sampled_from([0.4, 1, 5, 90, 4000, 40_000]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.venue.advance()

    @rule(rate=st.sampled_from(["0.01", "-0.02", "0"]), inst_id=swaps)
    def funding(self, rate: str, inst_id: str) -> None:
        self.venue.set_funding_rate(inst_id, Decimal(rate))
        self.venue.pay_funding()

    @rule(name=accounts, amount=st.integers(1, 9_000), way=st.sampled_from([("6", "18"), ("18", "6"), ("18", "18")]))
    def transfer(self, name: str, amount: int, way: tuple[str, str]) -> None:
        kind = (
            {"type": "0"} if way[0] != way[1] else {"type": "1", "subAcct": "sub"} if name == "main" else {"type": "3"}
        )
        before = sum(self.worth(each) for each in ACCOUNTS)
        with suppress(VenueError):
            self.venue.transfer(name, {"ccy": "USD", "amt": str(amount), "from": way[0], "to": way[1], **kind})
        assert sum(self.worth(each) for each in ACCOUNTS) == before

    def worth(self, name: str) -> Decimal:
        """Dollars in the trading and the funding account."""
        return self.venue._engine.state.account(name).cash["USD"] + self.venue.wallet(name).get("USD", ZERO)

    @rule(name=accounts, fee_ccy=st.sampled_from(["", "base", "quote", "BNB"]))
    def fees(self, name: str, fee_ccy: str) -> None:
        self.venue.set_fee_currency(name, fee_ccy)

    @rule(name=accounts)
    def liquidate(self, name: str) -> None:
        self.venue.liquidate(name)
        assert self.venue.positions(name) == []

    @rule(inst_id=swaps, on=st.booleans(), seconds=st.integers(1, 100))
    def close_up(self, inst_id: str, seconds: int, *, on: bool) -> None:
        self.venue.suspend(inst_id, on=on)
        self.venue.plan_maintenance(Maintenance(self.venue.now(), self.venue.now() + seconds * 1000))

    @rule()
    def crash(self) -> None:
        self.venue.flush()
        before = picture(self.venue)
        assert self.venue._engine._journal is not None
        self.venue._engine._journal.close()  # no farewell: the next one finds only what was committed
        self.clock = ManualClock(self.clock.now_ms())
        self.venue = open_venue(self.clock, self.path)
        assert picture(self.venue) == before

    @invariant()
    def balances_are_the_sum_of_their_bills(self) -> None:
        for name in ACCOUNTS:
            book = self.venue._engine.state.account(name)
            for ccy, cash in book.cash.items():
                assert cash == sum((bill.change for bill in book.bills if bill.ccy == ccy), ZERO)
                assert ccy == "USD" or cash >= 0
            for leg, position in book.positions.items():
                moved = [b.pos_change for b in book.bills if (b.inst_id, b.mgn_mode) == (leg.inst_id, leg.mgn_mode)]
                assert position.margin == sum(moved, ZERO)
                assert position.isolated or not position.margin
                assert position.lots or not position.margin

    @invariant()
    def a_bill_is_made_of_its_parts(self) -> None:
        for name in ACCOUNTS:
            for bill in self.venue._engine.state.account(name).bills:
                if bill.kind in {"trade", "liquidation"} and bill.inst_id in SWAPS:
                    assert bill.change == bill.pnl + bill.fee - bill.pos_change
                elif bill.kind == "funding":
                    assert bill.pnl == bill.change + bill.pos_change

    @invariant()
    def nobody_owes_the_exchange_without_a_position(self) -> None:
        for name in ACCOUNTS:
            book = self.venue._engine.state.account(name)
            if not any(position.lots for position in book.positions.values()):
                assert book.cash["USD"] >= 0

    def teardown(self) -> None:
        if hasattr(self, "venue"):
            self.venue.close()
            self.folder.cleanup()


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)
