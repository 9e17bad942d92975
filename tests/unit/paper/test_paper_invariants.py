"""Random trading against the venue: whatever clients do, the books must add up."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kontor.paper.accounts import Resting, lot_tick_value
from kontor.paper.clock import ManualClock
from kontor.paper.model import CANCELED, FILLED, AccountConfig, Fill, Leg, Order, VenueConfig
from kontor.paper.venue import Venue

START = 1_760_000_000_000
ZERO = Decimal(0)
ACCOUNTS = ("paper", "second")
MARKETS = ("BTC-USD-SWAP", "BTC-USD", "DOGE-USD-SWAP", "BNB-USD")

actions = st.fixed_dictionaries(
    {
        "account": st.sampled_from(ACCOUNTS),
        "inst_id": st.sampled_from(MARKETS),
        "side": st.sampled_from(["buy", "sell"]),
        "kind": st.sampled_from(["limit", "limit", "market", "ioc", "fok", "post_only"]),
        "usd": st.integers(5, 25_000),
        "offset": st.one_of(st.just(0), st.integers(-20, 20)),  # ten-thousandths from the last price; 0 is mid-spread
        "reduce_only": st.booleans(),
        "by_quote": st.booleans(),
        "stp": st.sampled_from(["", "cancel_maker", "cancel_taker", "cancel_both"]),
    }
)


def open_venue(clock: ManualClock, path: Path | None = None) -> Venue:
    configs = tuple(
        AccountConfig(name, f"key-{name}", "secret", "phrase", (("USD", Decimal(60_000)), ("BTC", Decimal("0.3"))))
        for name in ACCOUNTS
    )
    return Venue(VenueConfig(markets=16, seed=11, accounts=configs), clock=clock, path=path)


def body_of(venue: Venue, action: dict[str, Any]) -> dict[str, Any]:
    """An order that is mostly well-formed, so that it is the books that are tried and not the parser."""
    instrument = venue.instrument(action["inst_id"])
    last = venue.mark_price(action["inst_id"])
    ticker = venue.ticker(action["inst_id"])
    middle = ((ticker.bid_px or last) + (ticker.ask_px or last)) / 2
    wanted = last * (10_000 + action["offset"]) / 10_000 if action["offset"] else middle
    px = (wanted / instrument.tick_sz).to_integral_value() * instrument.tick_sz
    lots = int(action["usd"] / (last * instrument.ct_val * instrument.lot_sz))
    body = {
        "instId": instrument.inst_id,
        "tdMode": "cross" if instrument.is_swap else "cash",
        "side": action["side"],
        "ordType": action["kind"],
        "sz": str(max(instrument.min_sz, lots * instrument.lot_sz)),
        "stpMode": action["stp"],
    }
    if action["kind"] != "market":
        body["px"] = str(px)
    elif action["by_quote"] and not instrument.is_swap:
        body |= {"tgtCcy": "quote_ccy", "sz": str(action["usd"])}
    if instrument.is_swap and action["reduce_only"]:
        body["reduceOnly"] = True
    return body


def picture(venue: Venue) -> dict[str, Any]:
    """Everything a client could see of its accounts, and the levels of the book."""
    return {
        name: (
            venue.orders_pending(name),
            venue.orders_history(name),
            venue.fills(name),
            venue.balance(name),
            venue.positions(name),
            venue.bills(name),
        )
        for name in ACCOUNTS
    } | {inst_id: venue.book(inst_id) for inst_id in MARKETS}


class Trading(RuleBasedStateMachine):
    """Two accounts trade while time passes and the venue is killed and restarted."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "paper.sqlite"
        self.clock = ManualClock(START)
        self.venue = open_venue(self.clock, self.path)

    @rule(action=actions)
    def place(self, action: dict[str, Any]) -> None:
        ack = self.venue.place_order(action["account"], body_of(self.venue, action))
        assert ack.s_code in {"0", "51008", "51169", "51170", "51020", "51006"}, ack

    @rule(seconds=st.sampled_from([0.2, 1, 1, 3, 30, 400, 9000]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.venue.advance()

    @precondition(lambda self: any(self.venue.orders_pending(name) for name in ACCOUNTS))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from([o for name in ACCOUNTS for o in self.venue.orders_pending(name)]))
        ack = self.venue.cancel_order(order.account, {"instId": order.inst_id, "ordId": order.ord_id})
        assert ack.s_code == "0"
        assert order.state == CANCELED

    @precondition(lambda self: any(self.venue.orders_pending(name) for name in ACCOUNTS))
    @rule(data=st.data(), offset=st.integers(-30, 30), factor=st.sampled_from([1, 2, 5]))
    def amend(self, data: st.DataObject, offset: int, factor: int) -> None:
        order = data.draw(st.sampled_from([o for name in ACCOUNTS for o in self.venue.orders_pending(name)]))
        tick = self.venue.instrument(order.inst_id).tick_sz
        px = (self.venue.mark_price(order.inst_id) * (10_000 + offset) / 10_000 / tick).to_integral_value() * tick
        body = {"instId": order.inst_id, "ordId": order.ord_id, "newPx": str(px), "newSz": str(order.sz * factor)}
        assert self.venue.amend_order(order.account, body).s_code in {"0", "51008", "51510", "51511"}

    @rule()
    def crash(self) -> None:
        """What was flushed is there again, to the last digit; so is every sequence."""
        self.venue.flush()
        before, sequences = picture(self.venue), self.venue._engine.state.sequences
        assert self.venue._engine._journal is not None
        self.venue._engine._journal.close()  # no farewell: the next one finds only what was committed
        self.clock = ManualClock(self.clock.now_ms())
        self.venue = open_venue(self.clock, self.path)
        assert picture(self.venue) == before
        assert self.venue._engine.state.sequences == sequences

    @invariant()
    def books_add_up(self) -> None:
        for name in ACCOUNTS:
            check_orders(self.venue, name)
            check_cash(self.venue, name)
            check_frozen(self.venue, name)

    @invariant()
    def users_never_cross_each_other(self) -> None:
        for book in self.venue._engine.state.books:
            bid, ask = book.best("buy"), book.best("sell")
            assert bid is None or ask is None or bid < ask

    def teardown(self) -> None:
        if hasattr(self, "venue"):
            self.venue.close()
            self.folder.cleanup()


def check_orders(venue: Venue, name: str) -> None:
    by_order: dict[str, list[Fill]] = defaultdict(list)
    for fill in venue.fills(name):
        by_order[fill.ord_id].append(fill)
    for order in (*venue.orders_pending(name), *venue.orders_history(name)):
        filled = by_order[order.ord_id]
        assert sum((f.fill_sz for f in filled), ZERO) == order.acc_fill_sz
        assert sum((f.fee for f in filled), ZERO) == order.fee
        assert sum((f.fill_pnl for f in filled), ZERO) == order.pnl
        if order.px is not None and order.ord_type != "limit":  # a limit order's price may have been amended since
            assert all((f.fill_px <= order.px) if order.side == "buy" else (f.fill_px >= order.px) for f in filled)
        if order.ord_type == "fok":
            assert order.acc_fill_sz in (ZERO, order.sz)
        if order.state == FILLED and order.tgt_ccy != "quote_ccy":
            assert order.acc_fill_sz == order.sz
        check_reduces(venue, order, filled)


def check_reduces(venue: Venue, order: Order, filled: list[Fill]) -> None:
    """Only positions that stood against it may have shrunk, and none may have turned around."""
    if not order.reduce_only:
        return
    held, ids = ZERO, {f.bill_id for f in filled}
    for fill in reversed(venue.fills(order.account, inst_id=order.inst_id)):
        after = held + (fill.fill_sz if fill.side == "buy" else -fill.fill_sz)
        if fill.bill_id in ids:
            assert abs(after) < abs(held)
            assert after * held >= 0
        held = after


def check_cash(venue: Venue, name: str) -> None:
    """Cash is deposits, purchases, sales and fees, and exactly the profit that the positions do not hold."""
    expected: dict[str, Decimal] = defaultdict(Decimal, {"USD": Decimal(60_000), "BTC": Decimal("0.3")})
    for fill in venue.fills(name):
        instrument = venue.instrument(fill.inst_id)
        sign = 1 if fill.side == "buy" else -1
        expected["USD"] -= sign * fill.fill_px * fill.fill_sz * instrument.ct_val
        expected[fill.fee_ccy] += fill.fee
        if not instrument.is_swap:
            expected[instrument.base_ccy] += sign * fill.fill_sz
    account = venue._engine.state.accounts[name]
    for position in account.positions.values():
        expected["USD"] += position.entry_value if position.lots > 0 else -position.entry_value
    for ccy, cash in account.cash.items():
        assert cash == expected[ccy]
        assert cash == sum((bill.change for bill in account.bills if bill.ccy == ccy), ZERO)
        assert ccy == "USD" or cash >= account.frozen.get(ccy, ZERO) >= 0


def check_frozen(venue: Venue, name: str) -> None:
    """What is frozen is exactly what the resting orders need."""
    account = venue._engine.state.accounts[name]
    frozen: dict[str, Decimal] = defaultdict(Decimal)
    resting: dict[Leg, Resting] = defaultdict(Resting)
    for order in account.open_orders.values():
        instrument = venue.instrument(order.inst_id)
        left = order.lots - order.lots_filled
        value = left * order.px_ticks * lot_tick_value(instrument)
        if not instrument.is_swap:
            ccy = "USD" if order.side == "buy" else instrument.base_ccy
            frozen[ccy] += value if order.side == "buy" else left * instrument.lot_sz
        elif not order.reduce_only and order.side == "buy":
            resting[order.leg].buy_lots += left
            resting[order.leg].buy_value += value
        elif not order.reduce_only:
            resting[order.leg].sell_lots += left
            resting[order.leg].sell_value += value
    assert {ccy: quantity for ccy, quantity in account.frozen.items() if quantity} == dict(frozen)
    assert {leg: r for leg, r in account.resting.items() if r.buy_lots or r.sell_lots} == dict(resting)


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)
@given(
    steps=st.lists(st.tuples(st.sampled_from([0.3, 1, 7, 61, 1300]), actions), min_size=3, max_size=12),
    polls=st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_how_often_somebody_polls_changes_nothing(steps: list[tuple[float, dict[str, Any]]], polls: list[int]) -> None:
    """Fills must follow from the orders, the seed and the time alone: otherwise no replay could ever be repeated."""
    lazy, busy = ManualClock(START), ManualClock(START)
    quiet, polled = open_venue(lazy), open_venue(busy)
    for number, (seconds, action) in enumerate(steps):
        lazy.advance(seconds)
        parts = polls[number % len(polls)]
        target = lazy.now_ms()
        for part in range(1, parts + 1):
            busy.resume_at(target - round(seconds * 1000) + round(seconds * 1000) * part // parts)
            polled.advance()
            polled.tickers(inst_ids=MARKETS)
            polled.candles(action["inst_id"], "5m", limit=3)
            polled.flush()
        quiet.place_order(action["account"], body_of(quiet, action))
        polled.place_order(action["account"], body_of(polled, action))
    assert picture(quiet) == picture(polled)
