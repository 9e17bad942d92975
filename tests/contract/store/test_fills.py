"""Fills, on every adapter: counted once, linked to their orders, added up against what the venue says."""

from dataclasses import replace
from decimal import Decimal

from kontor.domain.order import OrderState
from kontor.ports import Store
from tests.contract.store.builders import ETH, NOW, at, enqueued, make_fill, make_order, moved

S = OrderState


async def short(store: Store, **how: int) -> list[str]:
    return [order.client_order_id for order in await store.orders.short_of_fills("paper", **how)]


async def test_a_fill_comes_back_as_it_was_given(store: Store) -> None:
    """Every field survives; a rebate is a negative fee."""
    fill = make_fill(
        "t1",
        client_order_id="a",
        quantity=Decimal("0.000000000000000001"),
        fee=Decimal("-0.0000001"),
        fee_currency="USDT",
        is_maker=False,
    )
    assert await store.orders.save_fills("paper", [fill]) == [fill]
    assert await store.orders.fills("paper") == [fill]


async def test_a_fill_seen_twice_counts_once(store: Store) -> None:
    """REST and WebSocket tell the same trade, in one page or in two."""
    one, two = make_fill("t1"), make_fill("t2")
    assert await store.orders.save_fills("paper", [one, one]) == [one]
    assert await store.orders.save_fills("paper", [two, replace(one, price=Decimal(1))]) == [two]
    assert await store.orders.fills("paper") == [one, two]


async def test_trade_ids_are_per_symbol_and_account(store: Store) -> None:
    """Some venues number the trades of each market from one."""
    btc, eth = make_fill("1"), make_fill("1", symbol=ETH)
    assert await store.orders.save_fills("paper", [btc, eth]) == [btc, eth]
    assert await store.orders.save_fills("other", [btc]) == [btc]


async def test_a_fill_finds_its_order_by_the_venues_id(store: Store) -> None:
    """Venues seldom repeat our id on a trade; an order of another market with that id is not meant."""
    await enqueued(
        store,
        make_order("eth", symbol=ETH, venue_order_id="v1"),
        make_order("btc", venue_order_id="v1"),
        make_order("elsewhere", account="other", venue_order_id="v1"),
    )
    (fill,) = await store.orders.save_fills("paper", [make_fill("t1")])
    assert fill.client_order_id == "btc"
    assert await store.orders.fills("paper", client_order_id="btc") == [fill]


async def test_a_fill_that_comes_before_the_acknowledgement_is_linked_later(store: Store) -> None:
    """A stream is faster than the answer to the create: the fill is there before the venue's order id."""
    (order,) = await enqueued(store, make_order("a"))
    assert await store.orders.save_fills("paper", [make_fill("t1")]) == [make_fill("t1")]
    submitted = await moved(store, order, S.SUBMITTED)
    await moved(store, submitted, S.PARTIALLY_FILLED, venue_order_id="v1", filled_quantity=Decimal("0.04"))
    assert await store.orders.fills("paper", client_order_id="a") == [make_fill("t1", client_order_id="a")]
    assert await short(store) == []


async def test_an_adopted_order_takes_the_fills_that_were_there(store: Store) -> None:
    """An order made outside is enqueued with its venue id after its trades were seen."""
    await store.orders.save_fills("paper", [make_fill("t1")])
    await enqueued(store, make_order("ext", state=S.FILLED, venue_order_id="v1", filled_quantity=Decimal("0.05")))
    assert [fill.client_order_id for fill in await store.orders.fills("paper")] == ["ext"]
    assert await short(store) == ["ext"]


async def test_a_second_report_may_bring_the_missing_owner(store: Store) -> None:
    """The REST page has our id where the stream had none; it is not a new fill, but now it has an owner."""
    await enqueued(store, make_order("a", filled_quantity=Decimal("0.04"), state=S.PARTIALLY_FILLED))
    await store.orders.save_fills("paper", [make_fill("t1")])
    assert await short(store) == ["a"]
    assert await store.orders.save_fills("paper", [make_fill("t1", client_order_id="a")]) == []
    assert await store.orders.fills("paper", client_order_id="a") == [make_fill("t1", client_order_id="a")]
    assert await short(store) == []


async def test_an_owner_once_known_stays(store: Store) -> None:
    """A later report without our id takes nothing away, one with another id does not move the fill."""
    known = make_fill("t1", client_order_id="a")
    await store.orders.save_fills("paper", [known])
    await store.orders.save_fills("paper", [make_fill("t1"), make_fill("t1", client_order_id="b")])
    assert await store.orders.fills("paper") == [known]


async def test_orders_short_of_fills_are_listed_oldest_first(store: Store) -> None:
    """The venue says filled, the trades have not come: somebody must fetch them."""
    half, full = Decimal("0.04"), Decimal("0.1")
    await enqueued(
        store,
        make_order("young", created_at=at(2), state=S.FILLED, filled_quantity=full),
        make_order("old", created_at=at(1), state=S.FILLED, filled_quantity=full),
        make_order("fine", created_at=at(0), state=S.CANCELED, filled_quantity=half),
        make_order("unfilled", created_at=at(0)),
        make_order("stranger", account="other", state=S.FILLED, filled_quantity=full),
    )
    await store.orders.save_fills(
        "paper",
        [
            make_fill("t1", client_order_id="fine"),
            make_fill("t2", client_order_id="old"),
            make_fill("t3", client_order_id="old"),
        ],
    )
    assert await short(store) == ["old", "young"]
    assert await short(store, limit=1) == ["old"]
    await store.orders.save_fills("paper", [make_fill("t4", client_order_id="old", quantity=Decimal("0.02"))])
    assert await short(store) == ["young"]


async def test_the_sum_of_fills_is_exact(store: Store) -> None:
    """Ten times 0.1 is 1, not 0.9999999999999999: an order may not be short by a rounding."""
    await enqueued(store, make_order("a", quantity=Decimal(1), state=S.FILLED, filled_quantity=Decimal(1)))
    tenths = [make_fill(f"t{i}", client_order_id="a", quantity=Decimal("0.1")) for i in range(10)]
    await store.orders.save_fills("paper", tenths[:9])
    assert await short(store) == ["a"]
    await store.orders.save_fills("paper", tenths)
    assert await short(store) == []


async def test_fills_are_filtered_and_bounded(store: Store) -> None:
    """Oldest first; of more than the limit, the newest."""
    fills = [make_fill(f"t{i}", filled_at=at(i), client_order_id="ab"[i % 2]) for i in range(4)]
    await store.orders.save_fills("paper", fills[::-1])
    assert await store.orders.fills("paper") == fills
    assert await store.orders.fills("paper", limit=2) == fills[2:]
    assert await store.orders.fills("paper", since=at(1)) == fills[1:]
    assert await store.orders.fills("paper", client_order_id="b", since=at(2)) == [fills[3]]
    assert await store.orders.fills("other") == []
    assert await store.orders.fills("paper", since=NOW, limit=0) == []


async def test_strategies_fills_come_with_their_strategy(store: Store) -> None:
    """Positions of strategies are sums of these; orders by hand, adopted ones and other accounts are not among them."""
    await enqueued(
        store,
        make_order("mine", strategy="trend", venue_order_id="v1"),
        make_order("hand", venue_order_id="v2"),
        make_order("adopted", strategy="EXTERNAL", venue_order_id="v3"),
        make_order("elsewhere", strategy="trend", account="other", venue_order_id="v1"),
    )
    first, later = make_fill("t1", filled_at=at(5)), make_fill("t0", filled_at=at(9), fee=Decimal("0.1"))
    others = [make_fill("t2", venue_order_id="v2"), make_fill("t3", venue_order_id="v3")]
    await store.orders.save_fills("paper", [later, first, *others])
    await store.orders.save_fills("other", [make_fill("t9")])
    assert await store.orders.strategy_fills("paper") == [
        ("trend", replace(first, client_order_id="mine")),
        ("trend", replace(later, client_order_id="mine")),
    ]
    [(_, newest)] = await store.orders.strategy_fills("paper", since=at(6))
    assert newest == replace(later, client_order_id="mine")


async def test_every_fill_comes_with_its_strategy_or_none(store: Store) -> None:
    """Who holds what is folded from all of them: a trade by hand may close what a strategy holds."""
    await enqueued(
        store,
        make_order("mine", strategy="trend", venue_order_id="v1"),
        make_order("hand", venue_order_id="v2"),
        make_order("adopted", strategy="EXTERNAL", venue_order_id="v3"),
        make_order("elsewhere", strategy="trend", account="other", venue_order_id="v4"),
    )
    fills = [make_fill(f"t{n}", filled_at=at(n), venue_order_id=f"v{n}") for n in range(1, 5)]
    await store.orders.save_fills("paper", fills[::-1])
    await store.orders.save_fills("other", [make_fill("t9", client_order_id="mine")])
    owners = [("trend", "mine"), (None, "hand"), (None, "adopted"), (None, None)]
    expected = [
        (strategy, replace(fill, client_order_id=name)) for (strategy, name), fill in zip(owners, fills, strict=True)
    ]
    assert await store.orders.owned_fills("paper") == expected
    assert await store.orders.owned_fills("paper", since=at(3)) == expected[2:]
    assert await store.orders.count_fills("paper") == (4, 3, 1)
    await enqueued(store, make_order("late", strategy="trend", venue_order_id="v4"))
    assert await store.orders.count_fills("paper") == (4, 4, 2)
    assert await store.orders.count_fills("nobody") == (0, 0, 0)
