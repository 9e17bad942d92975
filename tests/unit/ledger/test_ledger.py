"""The ledger: each source is a row once, P&L adds up to what the money did, transfers are neither gain nor loss."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.domain.fill import Fill, FillCause
from kontor.domain.ledger import Bill, EntryKind, LedgerEntry, entry_of_bill, entry_of_fill
from kontor.domain.order import Side
from kontor.domain.outside import Transfer
from kontor.domain.profit import ProfitAndLoss, profit_and_loss
from kontor.domain.statement import apart, billed, money_moved
from kontor.trading.ledger import book_ledger, compare_with_bills
from kontor.trading.monitor import monitor_risk
from tests.fakes.desk import BTC, ETH, FakeDesk
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import START, in_virtual_time
from tests.unit.trading.test_exits import holder, holding

SPOT = "BTC/USD"
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def trade(
    quantity: str, price: str, *, symbol: str = BTC, strategy: str | None = "one", fee: str = "0", coin: str = "USD",
    coin_price: str | None = None, at: datetime = AT,
) -> LedgerEntry:  # fmt: skip
    signed = Decimal(quantity)
    side = Side.BUY if signed > 0 else Side.SELL
    fill = Fill(f"{quantity}@{price}", symbol, side, abs(signed), Decimal(price), at, "v", "c", Decimal(fee), coin)
    return entry_of_fill(fill, strategy, None if coin_price is None else Decimal(coin_price))


def bill(kind: EntryKind, change: str, *, symbol: str | None = None, number: str = "1", at: datetime = AT) -> Bill:
    return Bill(number, kind, "USD", Decimal(change), at, symbol)


def summed(lines: list[ProfitAndLoss]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for line in lines:
        totals[line.strategy] = totals.get(line.strategy, Decimal(0)) + line.net
    return totals


def test_a_swap_earns_what_it_realizes_less_fees_and_with_funding() -> None:
    entries = [
        trade("2", "100", fee="0.2"),
        entry_of_bill(bill(EntryKind.FUNDING, "-0.3", symbol=BTC), Decimal(1)),
        trade("-1", "110", fee="0.11"),
        trade("-1", "90", fee="-0.01"),
    ]
    [line] = profit_and_loss(entries, UTC)
    assert (line.realized, line.fees, line.funding) == (Decimal(0), Decimal("0.30"), Decimal("-0.3"))
    assert line.net == Decimal("-0.60")
    assert money_moved(entries) == {"USD": Decimal("-0.60")}


def test_a_fee_in_the_base_coin_is_not_held_and_counts_at_the_trades_price() -> None:
    """The venue keeps a part of what was bought: that part is the fee, at what was paid for it."""
    entries = [trade("1", "100", symbol=SPOT, fee="0.001", coin="BTC"), trade("-0.999", "110", symbol=SPOT)]
    [line] = profit_and_loss(entries, UTC)
    assert (line.realized, line.fees) == (Decimal("9.990"), Decimal("0.100"))
    assert line.net == money_moved(entries)["USD"] == Decimal("9.890")
    assert money_moved(entries)["BTC"] == 0


def test_a_fee_in_a_third_coin_counts_at_its_price_then_and_an_unpriced_one_is_shown() -> None:
    entries = [trade("1", "100", fee="0.5", coin="OKB", coin_price="50"), trade("1", "100", fee="3", coin="XYZ")]
    [line] = profit_and_loss(entries, UTC)
    assert (line.fees, line.unvalued) == (Decimal("25.0"), {"XYZ": Decimal(3)})
    assert money_moved(entries) == {"OKB": Decimal("-0.5"), "XYZ": Decimal(-3)}


def test_funding_is_shared_by_what_each_held_and_the_parts_sum_to_the_whole() -> None:
    entries = [
        trade("2", "100"),
        trade("-1", "100", strategy="two"),
        trade("0.5", "100", strategy=None),
        entry_of_bill(bill(EntryKind.FUNDING, "-1", symbol=BTC), Decimal(1)),
    ]
    found = summed(profit_and_loss(entries, UTC))
    assert sum(found.values()) == -1
    assert found["one"] < 0 < found["two"]
    assert abs(found["one"] - 4 * found["manual"]) < Decimal("1e-11")


def test_the_trading_day_has_a_time_zone() -> None:
    late = datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
    entries = [trade("1", "100", at=late), trade("-1", "101", at=late + timedelta(minutes=1))]
    assert {line.day for line in profit_and_loss(entries, UTC)} == {"2026-01-01"}
    assert {line.day for line in profit_and_loss(entries, BERLIN)} == {"2026-01-02"}


def test_a_liquidation_is_a_row_of_its_kind_and_a_transfer_is_no_profit() -> None:
    fill = Fill("t", BTC, Side.SELL, Decimal(1), Decimal(50), AT, "v", cause=FillCause.LIQUIDATION)
    forced = entry_of_fill(fill, None, None)
    assert forced.kind is EntryKind.LIQUIDATION
    moved = entry_of_bill(bill(EntryKind.TRANSFER, "-500"), Decimal(1))
    entries = [trade("1", "100", strategy=None), moved, forced]
    [line] = profit_and_loss(entries, UTC)
    assert line.net == -50
    assert money_moved(entries) == {"USD": Decimal(-550)}


def test_what_people_close_of_a_strategys_position_is_the_strategys_profit() -> None:
    """First what is held by hand, from before the desk too; then the strategies, pro rata."""
    entries = [trade("2", "100"), trade("1", "100", strategy="two"), trade("-3.5", "110", strategy=None, fee="7")]
    found = {line.strategy: line for line in profit_and_loss(entries, UTC, {BTC: Decimal("0.5")})}
    assert {name: line.realized for name, line in found.items()} == {"one": 20, "two": 10, "manual": 0}
    assert sum(line.fees for line in found.values()) == 7
    assert sum(line.turnover for line in found.values()) == 300 + 385
    entries.append(trade("1", "120", strategy="two", symbol=SPOT))
    entries.append(trade("-1", "130", strategy=None, symbol=SPOT))
    assert summed(profit_and_loss(entries, UTC, {}))["two"] == 10 + 10


TRADES = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", None]),
        st.integers(-30, 30).filter(bool),
        st.integers(90, 110),
        st.integers(-5, 20),
    ),
    max_size=25,
)


@given(TRADES)
def test_profit_of_all_strategies_is_what_the_accounts_money_did_once_all_are_flat(
    trades: list[tuple[str | None, int, int, int]],
) -> None:
    """However strategies trade with and against one another on one symbol, nothing is lost or counted twice."""
    entries = [trade(str(q), str(p), strategy=s, fee=str(f)) for s, q, p, f in trades]
    held: dict[str | None, int] = {}
    for strategy, quantity, _, _ in trades:
        held[strategy] = held.get(strategy, 0) + quantity
    entries += [trade(str(-left), "100", strategy=strategy) for strategy, left in held.items() if left]
    net = sum((line.net for line in profit_and_loss(entries, UTC)), Decimal(0))
    assert abs(net - money_moved(entries).get("USD", Decimal(0))) < Decimal("1e-15")


def test_two_statements_differ_from_half_a_cent_on() -> None:
    assert apart({"USD": Decimal("1.004")}, {"USD": Decimal(1)}) == {}
    assert apart({"USD": Decimal("1.005")}, {"USD": Decimal(1)}) == {"USD": Decimal("0.005")}
    assert apart({}, {"ETH": Decimal(2)}) == {"ETH": Decimal(-2)}


@in_virtual_time
async def test_fills_and_bills_are_booked_once_however_often_and_with_their_strategy() -> None:
    desk = TradingDesk({"one": holder(2)})
    desk.venue.bills = [
        bill(EntryKind.FUNDING, "-0.5", symbol=BTC, at=START),
        bill(EntryKind.TRADE, "-9", number="2", at=START),
    ]
    async with desk.executing():
        await holding(desk)
        by_hand = await desk.want(ETH)
        await desk.booked(by_hand.client_order_id)
        assert (await book_ledger(desk)).booked == {"trade": 2, "funding": 1}
        assert (await book_ledger(desk)).booked == {}
    rows = await desk.store.account.ledger(desk.account)
    assert {(row.kind, row.strategy, row.symbol) for row in rows} == {
        (EntryKind.TRADE, "one", BTC),
        (EntryKind.TRADE, None, ETH),
        (EntryKind.FUNDING, None, BTC),
    }


@in_virtual_time
async def test_a_fill_waits_a_while_for_its_order_and_is_then_booked_as_it_is() -> None:
    """A row is never changed: it must not be written before it is known whose it is."""
    desk = FakeDesk()
    strange = Fill("t1", BTC, Side.BUY, Decimal(1), Decimal(100), desk.clock.now(), "of nobody")
    later = replace(strange, trade_id="t2", client_order_id="somebody's")
    await desk.store.orders.save_fills(desk.account, [strange, later])
    report = await book_ledger(desk)
    assert (report.booked, report.waiting, report.has_bills) == ({}, 2, False)
    await desk.clock.sleep(601)
    assert (await book_ledger(desk)).booked == {"trade": 2}


@in_virtual_time
async def test_the_ledger_is_held_against_the_venues_statement() -> None:
    desk = TradingDesk({"one": holder(2)})
    desk.venue.bills = []
    async with desk.executing():
        assert await compare_with_bills(desk) is None
        await holding(desk)
        close = await desk.want(BTC, Side.SELL, "2", reduce_only=True, strategy="one")
        await desk.booked(close.client_order_id)
        desk.venue.bills = [bill(EntryKind.FUNDING, "-0.5", symbol=BTC, at=desk.clock.now())]
        found = await compare_with_bills(desk)
        assert found is not None
        assert (found.ours, found.theirs, found.apart) == (
            {"USD": Decimal("-0.5")},
            {"USD": Decimal("-0.5")},
            {},
        )
        desk.venue.bills.append(bill(EntryKind.TRADE, "7", number="9", at=desk.clock.now()))
        found = await compare_with_bills(desk)
        assert found is not None
        assert found.apart == {"USD": Decimal(-7)}


@pytest.mark.parametrize("amount", ["-40000", "40000"])
def test_a_transfer_moves_neither_drawdown_nor_the_days_loss(amount: str) -> None:
    @in_virtual_time
    async def run() -> None:
        desk = FakeDesk()
        desk.config = desk.config.model_validate(
            {**desk.config.model_dump(), "risk": {"max_drawdown_percent": 5, "max_daily_loss": 1000}}
        )
        desk.venue.transfers = []
        await monitor_risk(desk)
        desk.venue.cash += Decimal(amount)
        desk.venue.transfers.append(Transfer("7", "USD", Decimal(amount), desk.clock.now()))
        report = await monitor_risk(desk)
        assert (report.breaches, report.halted) == ([], None)
        desk.venue.cash -= 1000
        assert [breach.rule for breach in (await monitor_risk(desk)).breaches] == ["max_daily_loss"]

    run()


def test_bills_are_summed_by_currency() -> None:
    assert billed([bill(EntryKind.TRADE, "3"), bill(EntryKind.FUNDING, "-1")]) == {"USD": Decimal(2)}


def test_interest_in_a_coin_without_a_price_is_in_no_sum_and_named() -> None:
    """Counted at 1, a coin's interest would be dollars."""
    paid = replace(bill(EntryKind.INTEREST, "-2"), currency="XYZ")
    valued = replace(bill(EntryKind.INTEREST, "-2", number="2"), currency="OKB")
    unvalued, line = sorted(
        profit_and_loss([entry_of_bill(paid, None), entry_of_bill(valued, Decimal(50))], UTC),
        key=lambda line: line.symbol,
        reverse=True,
    )
    assert (unvalued.symbol, unvalued.net, unvalued.unvalued) == ("XYZ", Decimal(0), {"XYZ": Decimal(2)})
    assert (line.symbol, line.net, line.unvalued) == ("OKB", Decimal(-100), {})


def test_interest_in_the_base_coin_of_a_market_counts_at_the_coins_price() -> None:
    borrowed = replace(bill(EntryKind.INTEREST, "-0.01", symbol=SPOT), currency="BTC")
    [line] = profit_and_loss([entry_of_bill(borrowed, Decimal(100))], UTC)
    assert line.net == -1


@in_virtual_time
async def test_after_weeks_down_bills_are_booked_from_where_they_had_been_booked() -> None:
    desk = FakeDesk()
    desk.venue.bills = []
    await book_ledger(desk)
    desk.venue.bills = [
        bill(EntryKind.FUNDING, "-1", symbol=BTC, number=str(day), at=desk.clock.now() + timedelta(days=day))
        for day in range(1, 30)
    ]
    await desk.clock.sleep(timedelta(days=30).total_seconds())
    assert (await book_ledger(desk)).booked == {"funding": 29}


@in_virtual_time
async def test_more_bills_than_the_venue_lists_are_fetched_in_parts_and_none_is_lost() -> None:
    """Were the mark to move on, the oldest would be gone for good."""
    desk = FakeDesk()
    desk.venue.bills, desk.venue.most_bills = [], 20
    await book_ledger(desk)
    begin = desk.clock.now()
    busy = [begin + timedelta(days=9, seconds=10 * number) for number in range(300)]
    calm = [begin + timedelta(days=day) for day in range(1, 30)]
    desk.venue.bills = [
        bill(EntryKind.FUNDING, "-1", symbol=BTC, number=str(number), at=at)
        for number, at in enumerate(sorted(busy + calm))
    ]
    await desk.clock.sleep(timedelta(days=30).total_seconds())
    report = await book_ledger(desk)
    assert (report.booked, report.incomplete) == ({"funding": 329}, None)
    assert desk.exchange.requests["bills"] < 100


@in_virtual_time
async def test_bills_that_cannot_be_had_whole_leave_the_mark_where_they_end() -> None:
    desk = FakeDesk()
    desk.venue.bills, desk.venue.most_bills = [], 3
    await book_ledger(desk)
    crowd = desk.clock.now() + timedelta(days=2)
    desk.venue.bills = [
        bill(EntryKind.FUNDING, "-1", symbol=BTC, number=str(number), at=crowd) for number in range(4)
    ] + [bill(EntryKind.FUNDING, "-1", symbol=BTC, number="9", at=crowd - timedelta(days=1))]
    await desk.clock.sleep(timedelta(days=10).total_seconds())
    report = await book_ledger(desk)
    assert report.booked == {"funding": 1}
    assert report.incomplete is not None
    assert abs(datetime.fromisoformat(report.incomplete) - crowd) <= timedelta(seconds=1)
    assert "bills only up to" in str(report)
    # The venue, or a person, has cleared it up: the next run goes on there.
    desk.venue.most_bills = 10
    report = await book_ledger(desk)
    assert (report.booked, report.incomplete) == ({"funding": 4}, None)
