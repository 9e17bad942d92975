"""Counting calls the way OKX documents it."""

from __future__ import annotations

import pytest

from kontor.paper.endpoints import BY_PATH, ENDPOINTS
from kontor.paper.rate_limits import (
    CANCEL,
    CANCEL_BATCH,
    MAX_METERS,
    PLACE,
    PLACE_BATCH,
    SUB_ACCOUNT,
    Charge,
    Limit,
    RateLimits,
    Scope,
    order_charges,
    request_charges,
)
from kontor.paper.replies import Refusal

FIVE = Limit("five", 5, 2, Scope.IP)


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def allowed(limits: RateLimits, charge: Charge) -> bool:
    try:
        limits.take([charge])
    except Refusal:
        return False
    return True


def test_the_call_after_the_last_allowed_one_is_refused_with_429() -> None:
    """The limit is a limit, and the refusal is the one clients know."""
    limits = RateLimits(clock=Hand())
    assert all(allowed(limits, Charge(FIVE, "me")) for _ in range(5))
    with pytest.raises(Refusal) as caught:
        limits.take([Charge(FIVE, "me")])
    assert (caught.value.code, caught.value.status) == ("50011", 429)


def test_a_place_frees_up_when_the_oldest_call_leaves_the_window() -> None:
    """The window slides: no burst of twice the limit around a boundary."""
    clock = Hand()
    limits = RateLimits(clock=clock)
    for second in (0.0, 1.0, 1.0, 1.0, 1.9):
        clock.now = 100.0 + second
        assert allowed(limits, Charge(FIVE, "me"))
    clock.now = 101.99
    assert not allowed(limits, Charge(FIVE, "me"))
    clock.now = 102.0
    assert allowed(limits, Charge(FIVE, "me"))
    assert not allowed(limits, Charge(FIVE, "me"))


def test_a_refused_call_is_not_counted() -> None:
    """Otherwise a client that retries at once would never get in again."""
    clock = Hand()
    limits = RateLimits(clock=clock)
    for _ in range(20):
        allowed(limits, Charge(FIVE, "me"))
    clock.now += 2.0
    assert sum(allowed(limits, Charge(FIVE, "me")) for _ in range(20)) == 5


def test_callers_are_counted_apart() -> None:
    """One busy sub-account must not slow down another."""
    limits = RateLimits(clock=Hand())
    assert all(allowed(limits, Charge(FIVE, "me")) for _ in range(5))
    assert allowed(limits, Charge(FIVE, "you"))


def test_a_request_that_breaks_one_limit_takes_nothing_from_the_others() -> None:
    """A batch over two instruments is all or nothing."""
    limits = RateLimits(clock=Hand())
    assert not all_of(limits, [Charge(FIVE, "a"), Charge(FIVE, "b", 6)])
    assert all(allowed(limits, Charge(FIVE, "a")) for _ in range(5))


def all_of(limits: RateLimits, charges: list[Charge]) -> bool:
    try:
        limits.take(charges)
    except Refusal:
        return False
    return True


@pytest.mark.parametrize(("factor", "calls"), [(0.2, 1), (2.0, 10), (0.0001, 1)])
def test_a_factor_multiplies_every_limit_but_never_to_nothing(factor: float, calls: int) -> None:
    """Chaos runs tighten the limits, benchmarks loosen them."""
    limits = RateLimits(factor, clock=Hand())
    assert sum(allowed(limits, Charge(FIVE, "me")) for _ in range(50)) == calls


def test_a_factor_of_zero_switches_the_limits_off() -> None:
    """Throughput is measured without them."""
    limits = RateLimits(0, clock=Hand())
    assert all(allowed(limits, Charge(FIVE, "me")) for _ in range(500))


def test_the_meters_of_strangers_do_not_pile_up() -> None:
    """Keys come from clients: memory stays bounded whatever they send."""
    limits = RateLimits(clock=Hand())
    for number in range(MAX_METERS + 10):
        limits.take([Charge(FIVE, str(number))])
    assert len(limits._meters) <= MAX_METERS


def test_one_order_in_a_batch_counts_as_a_single_order() -> None:
    """OKX's rule, and ccxt sends every single order as a batch of one."""
    assert order_charges(PLACE, "me", [{"instId": "BTC-USD"}]) == [
        Charge(PLACE, "me|BTC-USD"),
        Charge(SUB_ACCOUNT, "me"),
    ]


def test_a_batch_is_counted_by_its_orders_and_by_instrument() -> None:
    """300 orders in two seconds and instrument, however they are packed."""
    orders = [{"instId": "BTC-USD"}] * 3 + [{"instId": "ETH-USD"}] * 2
    assert order_charges(PLACE, "me", orders) == [
        Charge(PLACE_BATCH, "me|BTC-USD", 3),
        Charge(PLACE_BATCH, "me|ETH-USD", 2),
        Charge(SUB_ACCOUNT, "me", 5),
    ]
    assert order_charges(CANCEL, "me", orders[:2]) == [Charge(CANCEL_BATCH, "me|BTC-USD", 2)]


def test_public_limits_are_counted_by_address_and_private_ones_by_account() -> None:
    """Two accounts on one machine share the market data budget and nothing else."""
    public, private = BY_PATH["GET", "/api/v5/market/tickers"], BY_PATH["GET", "/api/v5/account/balance"]
    assert request_charges(public.limit, ip="10.0.0.1", account="me", params={})[0].key == "10.0.0.1"
    assert request_charges(private.limit, ip="10.0.0.1", account="me", params={})[0].key == "me"
    lookup = BY_PATH["GET", "/api/v5/trade/order"]
    charges = request_charges(lookup.limit, ip="10.0.0.1", account="me", params={"instId": "BTC-USD"})
    assert charges == [Charge(lookup.limit, "me|BTC-USD")]


@pytest.mark.parametrize(
    ("method", "path", "count", "seconds"),
    [
        ("GET", "market/tickers", 20, 2),
        ("GET", "market/candles", 40, 2),
        ("GET", "public/time", 10, 2),
        ("POST", "trade/order", 60, 2),
        ("GET", "trade/orders-pending", 60, 2),
        ("POST", "trade/cancel-all-after", 1, 1),
        ("GET", "account/balance", 10, 2),
        ("GET", "account/config", 5, 2),
        ("GET", "system/status", 1, 5),
    ],
)
def test_limits_are_the_documented_ones(method: str, path: str, count: int, seconds: float) -> None:
    """A desk tuned on paper must not be throttled on the real exchange."""
    limit = BY_PATH[method, f"/api/v5/{path}"].limit
    assert (limit.count, limit.seconds) == (count, seconds)


def test_only_endpoints_about_ones_own_account_ask_for_a_signature() -> None:
    """Market data is public, everything under trade and account is not."""
    for endpoint in ENDPOINTS:
        assert endpoint.private == endpoint.path.startswith(("trade/", "account/", "asset/"))
