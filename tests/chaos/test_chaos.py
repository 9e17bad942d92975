"""A short campaign on real processes: the long one is `python -m tests.chaos.campaign`."""

from decimal import Decimal
from pathlib import Path

import pytest

from kontor.domain.order import OrderState
from tests.chaos.books import VenueOrder, compare
from tests.chaos.campaign import Campaign
from tests.chaos.grounds import BareGrounds
from tests.chaos.plan import Plan
from tests.fakes.desk import FakeDesk
from tests.fakes.virtual_time import in_virtual_time

S = OrderState


@pytest.mark.timeout(180)
async def test_kills_faults_and_restarts_leave_both_books_equal(tmp_path: Path) -> None:
    """The promise, on the real adapter, SQLite and the paper exchange: nothing lost, doubled, untracked or stuck."""
    plan = Plan(
        orders=30,
        seed=11,
        kills=8,
        faults=20,
        venue_restarts=1,
        stops=1,
        orders_per_second=4,
        seconds_between_venue_restarts=(3, 8),
    )
    tally = await Campaign(plan, BareGrounds(tmp_path, markets=10, seed=plan.seed)).run()
    verdict = tally.verdict
    assert verdict.is_clean, [*verdict.lost, *verdict.duplicated, *verdict.untracked, *verdict.stuck]
    assert tally.orders >= 30
    assert tally.kills >= 8
    assert tally.faults >= 20
    assert tally.at_venue >= 10, "hardly anything reached the venue: the campaign proves nothing"


@in_virtual_time
async def test_the_comparison_sees_every_kind_of_difference() -> None:
    """A judge that cannot say "guilty" proves nothing."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90"), S.ACCEPTED)
    ours = [order]
    line = VenueOrder(str(order.venue_order_id), order.client_order_id, S.ACCEPTED, Decimal(0))
    filled = VenueOrder(line.venue_order_id, line.client_order_id, S.FILLED, Decimal(1))
    twin = VenueOrder("another", line.client_order_id, S.FILLED, Decimal(1))
    assert compare([line], {}, ours, []).figures == "lost=0 duplicated=0 untracked=0 stuck=1"
    assert compare([filled], {}, ours, []).figures == "lost=1 duplicated=0 untracked=0 stuck=1"
    assert compare([line, twin], {}, ours, []).figures == "lost=0 duplicated=1 untracked=1 stuck=1"
    assert compare([line], {"BTC t1": Decimal(1)}, ours, []).figures == "lost=1 duplicated=0 untracked=0 stuck=1"
    assert compare([], {}, ours, []).figures == "lost=1 duplicated=0 untracked=0 stuck=1"
