"""Who holds what is followed fill by fill; however facts come in, it is what a fresh reading of the store says."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL
from kontor.domain.order import Order, OrderType, Side
from kontor.domain.outside import OutsideKind, OutsideMove
from kontor.execution.baseline import RECONCILED
from kontor.execution.drift import OPENING
from kontor.trading import positions
from kontor.trading.positions import Holders, holders
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.venue import MARKETS
from tests.fakes.virtual_time import START, in_virtual_time

OWNERS = {"one": "one", "two": "two", "hand": None, "adopted": EXTERNAL}


@dataclass(frozen=True)
class Fact:
    """Something that becomes known: a fill of an owner's order or of an unknown one, its link, a move, or time."""

    kind: str
    owner: str
    quantity: int
    # When it happened, in seconds; it may come late.
    at: int


FACTS = st.lists(
    st.builds(
        Fact,
        st.sampled_from(["fill", "fill", "fill", "fill", "stray", "link", "move", "wait"]),
        st.sampled_from(sorted(OWNERS)),
        st.integers(-4, 4).filter(bool),
        st.integers(0, 20),
    ),
    max_size=14,
)


def fill_of(number: int, fact: Fact) -> Fill:
    side = Side.BUY if fact.quantity > 0 else Side.SELL
    at = START + timedelta(seconds=fact.at)
    return Fill(f"t{number}", BTC, side, abs(Decimal(fact.quantity)), Decimal(100 + number), at, f"v-{number}")


async def become_known(desk: FakeDesk, number: int, fact: Fact, strays: list[Fill]) -> None:
    orders, name = desk.store.orders, f"{fact.owner}-{number}"
    fill = fill_of(number, fact)
    order = Order(
        name, desk.account, BTC, fill.side, OrderType.MARKET, fill.quantity, START, strategy=OWNERS[fact.owner],
        venue_order_id=fill.venue_order_id,
    )  # fmt: skip
    if fact.kind == "fill":
        await orders.enqueue([order], "test")
        await orders.save_fills(desk.account, [fill])
    elif fact.kind == "stray":
        strays.append(fill)
        await orders.save_fills(desk.account, [fill])
    elif fact.kind == "link" and strays:
        found = strays.pop(0)
        await orders.enqueue([Order(**{**fields(order), "venue_order_id": found.venue_order_id})], "test")
        await orders.save_fills(desk.account, [found])
    elif fact.kind == "move":
        at = START + timedelta(seconds=fact.at)
        move = OutsideMove(f"drift:{number}", OutsideKind.ADJUSTMENT, at, Decimal(fact.quantity), symbol=BTC)
        known = await desk.store.desk.attribute(desk.account, RECONCILED)
        since = known.at if known is not None else None
        await desk.store.account.settle(desk.account, [move], RECONCILED, {}, desk.clock.now(), since=since)
    await desk.clock.sleep(40 if fact.kind == "wait" else 0.001)


def fields(order: Order) -> dict[str, object]:
    return {name: getattr(order, name) for name in Order.__dataclass_fields__}


async def read_anew(desk: FakeDesk) -> Holders:
    followed = positions._known.pop(desk.store)
    found = await holders(desk, MARKETS)
    positions._known[desk.store] = followed
    return found


@settings(deadline=None, max_examples=100)
@given(FACTS, st.sampled_from([None, {}, {BTC: "3"}]))
def test_what_is_followed_is_what_a_fresh_reading_says(facts: list[Fact], opening: dict[str, str] | None) -> None:
    @in_virtual_time
    async def run() -> None:
        desk = FakeDesk()
        if opening is not None:
            await desk.store.desk.set_attribute(desk.account, OPENING, opening, desk.clock.now())
        strays: list[Fill] = []
        for number, fact in enumerate(facts):
            await become_known(desk, number, fact, strays)
            assert await holders(desk, MARKETS) == await read_anew(desk)

    run()
