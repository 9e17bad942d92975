"""Balances and their history, positions and open orders, on every adapter."""

from decimal import Decimal
from typing import Any

from kontor.domain.account import Balance, CurrencyBalance, Position, PositionSide
from kontor.domain.order import OrderReport, OrderState, OrderType, Side
from kontor.domain.outside import OutsideKind, OutsideMove
from kontor.domain.snapshot import Snapshot
from kontor.ports import Store
from tests.contract.store.builders import BTC, ETH, NOW, at


def make_balance(total: str, seconds: float = 0) -> Balance:
    money = Decimal(total)
    held = CurrencyBalance(free=Decimal("0.1"), used=Decimal("0.000000000000000002"), total=Decimal("1E+3"))
    return Balance("USD", money, money, Decimal(0), at(seconds), {"BTC": held, "USD": held})


async def test_a_balance_comes_back_as_it_was_given(store: Store) -> None:
    """The newest one, to the last digit, with its currencies."""
    assert await store.account.balance("paper") is None
    await store.account.save_balance("paper", make_balance("1"))
    await store.account.save_balance("paper", make_balance("10000.123456789012345678", 1))
    assert await store.account.balance("paper") == make_balance("10000.123456789012345678", 1)
    assert await store.account.balance("other") is None


async def test_the_first_total_above_zero_is_the_initial_capital_for_good(store: Store) -> None:
    """An account that is empty when the desk starts has no capital yet; later deposits change nothing."""
    assert await store.account.initial_capital("paper") is None
    for i, total in enumerate(["0", "-1", "100.50", "900", "5"]):
        await store.account.save_balance("paper", make_balance(total, i))
        expected = None if i < 2 else Decimal("100.5")
        assert await store.account.initial_capital("paper") == expected
    assert await store.account.initial_capital("other") is None


async def test_the_history_goes_oldest_first_and_can_be_pruned(store: Store) -> None:
    """Equity over time, bounded; the balance itself and the initial capital stay."""
    for seconds in (2, 0, 1):
        await store.account.save_balance("paper", make_balance(str(100 + seconds), seconds))
    history = [Snapshot(Decimal(100 + seconds), at(seconds)) for seconds in range(3)]
    assert await store.account.balance_history("paper") == history
    assert await store.account.balance_history("paper", since=at(1)) == history[1:]
    assert await store.account.prune_balances("paper", before=at(1)) == 1
    assert await store.account.balance_history("paper") == history[1:]
    assert await store.account.prune_balances("paper", before=at(99)) == 2
    assert await store.account.balance_history("paper") == []
    assert await store.account.balance("paper") == make_balance("101", 1)
    assert await store.account.initial_capital("paper") == 102


async def test_equity_comes_oldest_first_thinned_out_on_request_and_is_pruned_with_the_balances(store: Store) -> None:
    """A picture of a quarter of a year needs hundreds of points, not hundreds of thousands."""
    for minute in (1, 0, *range(2, 100)):
        await store.account.save_equity("paper", Decimal(1000 + minute), at(minute * 60))
    whole = [Snapshot(Decimal(1000 + minute), at(minute * 60)) for minute in range(100)]
    assert await store.account.equity_history("paper") == whole
    assert await store.account.equity_history("paper", since=at(99 * 60)) == whole[99:]
    ten = await store.account.equity_history("paper", points=10)
    assert ten == whole[9::10]
    few = await store.account.equity_history("paper", since=at(98 * 60), points=10)
    assert few == whole[98:]
    assert await store.account.equity_history("other", points=10) == []
    assert await store.account.prune_balances("paper", before=at(99 * 60)) == 99
    assert await store.account.equity_history("paper") == whole[99:]


async def test_a_moment_saved_twice_is_one_entry(store: Store) -> None:
    """A flow that runs again on the same answer does not double its history."""
    await store.account.save_balance("paper", make_balance("1"))
    await store.account.save_balance("paper", make_balance("2"))
    assert await store.account.balance_history("paper") == [Snapshot(Decimal(2), NOW)]


async def test_positions_are_a_snapshot_with_its_time(store: Store) -> None:
    """Flat is an empty snapshot, never asked is none; two sides of one market may be open."""
    assert await store.account.positions("paper") is None
    one = Decimal("1.5")
    both = [
        Position(ETH, PositionSide.LONG, one, one, one, -one, one, one, "cross", NOW),
        Position(ETH, PositionSide.SHORT, one, one, None, None, None, None, None, at(1)),
        Position(BTC, PositionSide.LONG, one, one, None, None, None, None, "isolated", NOW),
    ]
    await store.account.save_positions("paper", both, at(2))
    assert await store.account.positions("paper") == Snapshot(tuple(both), at(2))
    await store.account.save_positions("paper", [], at(3))
    assert await store.account.positions("paper") == Snapshot((), at(3))
    assert await store.account.positions("other") is None


async def test_open_orders_are_a_snapshot_with_its_time(store: Store) -> None:
    """As the venue reported them, with or without our id."""
    assert await store.account.open_orders("paper") is None
    reports = [
        OrderReport(BTC, Side.BUY, OrderType.LIMIT, OrderState.ACCEPTED, Decimal(1), Decimal(0), "v2", NOW),
        OrderReport(
            ETH,
            Side.SELL,
            OrderType.MARKET,
            OrderState.PARTIALLY_FILLED,
            Decimal(2),
            Decimal("0.5"),
            "v1",
            at(1),
            client_order_id="a",
            price=Decimal("3000.10"),
            average_price=Decimal("2999.9"),
            reduce_only=True,
            reason="because",
            created_at=at(-1),
        ),
    ]
    await store.account.save_open_orders("paper", reports, at(2))
    assert await store.account.open_orders("paper") == Snapshot(tuple(reports), at(2))
    await store.account.save_open_orders("paper", [], at(3))
    assert await store.account.open_orders("paper") == Snapshot((), at(3))
    assert await store.account.open_orders("other") is None


def make_move(source: str, seconds: float = 0, **values: Any) -> OutsideMove:
    """A withdrawal of two coins, to the last digit."""
    given: dict[str, Any] = {
        "kind": OutsideKind.TRANSFER,
        "at": at(seconds),
        "quantity": Decimal("-2.000000000000000001"),
    }
    return OutsideMove(source, **{**given, "currency": "SOL", **values})


async def test_moves_from_outside_are_booked_once_with_the_baseline_they_lead_to(store: Store) -> None:
    """A crash in between, or a second look, must neither lose nor double one."""
    trade = make_move(
        "fill:BTC:t1",
        1,
        kind=OutsideKind.PARTIAL_CLOSE,
        symbol=BTC,
        currency=None,
        price=Decimal("60000.10"),
        fee=Decimal("0.01"),
        fee_currency="USD",
        client_order_id="ext1",
    )
    first, second = make_move("transfer:1"), make_move("transfer:2", 2)
    account = store.account
    assert await account.settle("paper", [first, first], "reconciled", {"n": 1}, at(0), since=None) == [first]
    assert await account.settle("paper", [trade, first], "reconciled", {"n": 2}, at(1), since=at(0)) == [trade]
    assert await account.settle("other", [first], "reconciled", {"n": 1}, at(0), since=None) == [first]
    assert await account.settle("paper", [second], "reconciled", {"n": 3}, at(2), since=at(1)) == [second]
    assert await account.outside_moves("paper") == [first, trade, second]
    assert await account.outside_moves("paper", since=at(1)) == [trade, second]
    assert await account.outside_moves("paper", limit=1) == [second]
    assert await store.desk.attribute("paper", "reconciled") == Snapshot({"n": 3}, at(2))


async def test_a_comparison_with_an_old_baseline_books_nothing(store: Store) -> None:
    """Two reconciliations at once: the slower one has compared with holdings that are not the last ones any more."""
    account = store.account
    assert await account.settle("paper", [], "reconciled", {"n": 1}, at(0), since=None) == []
    for since in (None, at(5)):
        assert await account.settle("paper", [make_move("m")], "reconciled", {"n": 2}, at(1), since=since) is None
    assert await account.outside_moves("paper") == []
    assert await store.desk.attribute("paper", "reconciled") == Snapshot({"n": 1}, at(0))
