"""Time: simulated clocks, the dead man's switch, and venues that sleep."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from kontor.paper.clock import ManualClock, PaperClock
from kontor.paper.model import CANCELED, OrderAck, VenueError
from kontor.paper.venue import Venue

Place = Callable[..., OrderAck]


def test_a_fast_clock_runs_by_its_factor_and_never_backwards() -> None:
    """A demonstration in minutes of what takes days; a wall clock that is set back must not repeat a moment."""
    wall = [1000.0]
    clock = PaperClock(60, start_ms=5_000_000, wall=lambda: wall[0])
    wall[0] += 2
    assert clock.now_ms() == 5_120_000
    wall[0] -= 1
    assert clock.now_ms() == 5_120_000
    clock.resume_at(9_000_000)
    assert clock.now_ms() >= 9_000_000
    before = clock.now_ms()
    wall[0] += 11
    assert clock.now_ms() > before
    with pytest.raises(ValueError, match="factor 0"):
        PaperClock(0)


def test_a_clock_without_a_start_is_the_wall_clock() -> None:
    """Signed requests carry the client's time; a paper exchange at normal speed must agree with it."""
    assert PaperClock(wall=lambda: 1_760_000_000.25).now_ms() == 1_760_000_000_250


def test_a_manual_clock_refuses_to_go_back() -> None:
    """A test that moves time backwards is wrong, and should hear so."""
    clock = ManualClock(10)
    assert clock.advance(1.5) == 1510
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_the_dead_mans_switch_cancels_everything_on_time(venue: Venue, place: Place, clock: ManualClock) -> None:
    """Armed and not renewed, it cancels at its moment, whenever somebody looks; renewed or disarmed, it does not."""
    orders = [venue.order("paper", "", ord_id=place("buy", 1, px=-9000 - n).ord_id) for n in range(3)]
    other = venue.order("second", "", ord_id=place("buy", 1, px=-9000, account="second").ord_id)
    armed = venue.cancel_all_after("paper", 20)
    assert armed.trigger_time == venue.now() + 20_000
    clock.advance(15)
    venue.advance()
    venue.cancel_all_after("paper", 20)
    clock.advance(15)
    venue.advance()
    assert all(order.is_open for order in orders)
    moment = venue.now() + 5_000
    clock.advance(600)
    assert venue.orders_pending("paper") == []
    assert {(o.state, o.cancel_source, o.u_time) for o in orders} == {(CANCELED, "20", moment)}
    assert other.is_open
    again = venue.order("paper", "", ord_id=place("buy", 1, px=-9000).ord_id)
    venue.cancel_all_after("paper", 10)
    assert venue.cancel_all_after("paper", 0).trigger_time == 0
    clock.advance(60)
    venue.advance()
    assert again.is_open
    with pytest.raises(VenueError, match="timeOut"):
        venue.cancel_all_after("paper", 5)


def test_a_venue_that_slept_for_days_finds_the_fills_it_missed(
    open_venue: Callable[..., Venue], clock: ManualClock
) -> None:
    """One look after two days gives the same fills, at the same moments, as looking every minute."""
    sleepy, awake = open_venue(), open_venue()
    body = {"instId": "BTC-USD-SWAP", "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "300"}
    px = venue_price(sleepy, Decimal("0.985"))
    for venue in (sleepy, awake):
        assert venue.place_order("paper", body | {"px": str(px)}).s_code == "0"
        ask = str(venue_price(venue, Decimal("1.012")))
        assert venue.place_order("second", body | {"px": ask, "side": "sell"}).s_code == "0"
    for _ in range(2 * 1440):
        clock.advance(60)
        awake.advance()
    assert sleepy.fills("paper") == awake.fills("paper")
    assert sleepy.fills("second") == awake.fills("second")
    assert sleepy.fills("paper") or sleepy.fills("second")
    assert sleepy.balance("paper") == awake.balance("paper")


def venue_price(venue: Venue, factor: Decimal) -> Decimal:
    return (venue.mark_price("BTC-USD-SWAP") * factor).quantize(Decimal("0.1"))


def test_a_price_set_by_hand_fills_what_it_reaches(venue: Venue, place: Place) -> None:
    """The operator's jump is a real one: resting orders at or beyond it trade at once."""
    near = venue.order("paper", "", ord_id=place("buy", 1, px=-1000).ord_id)
    far = venue.order("paper", "", ord_id=place("buy", 1, px=-15_000).ord_id)
    venue.set_price("BTC-USD-SWAP", venue.mark_price("BTC-USD-SWAP") - 200)
    assert (near.acc_fill_sz, near.fill_px) == (1, near.px)
    assert far.acc_fill_sz == 0
