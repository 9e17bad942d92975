"""How often each endpoint may be called, as OKX documents it, and who has called how often."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kontor.paper.replies import Refusal

MAX_METERS = 20_000


class Scope(Enum):
    """Whose calls are counted together."""

    IP = "ip"
    IP_INSTRUMENT = "ip+instId"
    USER = "user"
    USER_INSTRUMENT = "user+instId"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` calls within any `seconds`; endpoints whose limits share a name share the count."""

    name: str
    count: int
    seconds: float
    scope: Scope
    code: str = "50011"


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request takes from a limit."""

    limit: Limit
    key: str
    cost: int = 1


PLACE = Limit("trade/order", 60, 2, Scope.USER_INSTRUMENT)
PLACE_BATCH = Limit("trade/batch-orders", 300, 2, Scope.USER_INSTRUMENT)
CANCEL = Limit("trade/cancel-order", 60, 2, Scope.USER_INSTRUMENT)
CANCEL_BATCH = Limit("trade/cancel-batch-orders", 300, 2, Scope.USER_INSTRUMENT)
AMEND = Limit("trade/amend-order", 60, 2, Scope.USER_INSTRUMENT)
PLACE_ALGO = Limit("trade/order-algo", 20, 2, Scope.USER_INSTRUMENT)
CANCEL_ALGO = Limit("trade/cancel-algos", 20, 2, Scope.USER_INSTRUMENT)
AMEND_ALGO = Limit("trade/amend-algos", 20, 2, Scope.USER_INSTRUMENT)
ALGOS = frozenset({PLACE_ALGO, CANCEL_ALGO, AMEND_ALGO})
SUB_ACCOUNT = Limit("sub-account orders", 1000, 2, Scope.USER, code="50061")
CONNECT = Limit("ws connect", 3, 1, Scope.IP)
SUBSCRIBE = Limit("ws subscribe", 480, 3600, Scope.USER, code="60014")
WITH_BATCH = {PLACE.name: PLACE_BATCH, CANCEL.name: CANCEL_BATCH}


@dataclass(slots=True)
class _Meter:
    """The charges of one key within its window, oldest first."""

    taken: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def forget_before(self, moment: float) -> None:
        while self.taken and self.taken[0][0] <= moment:
            self.total -= self.taken.popleft()[1]


class RateLimits:
    """Counts calls against limits; `factor` multiplies every limit, 0 switches them off."""

    def __init__(self, factor: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._factor = factor
        self._clock = clock
        self._meters: dict[tuple[str, str], _Meter] = {}

    def take(self, charges: Iterable[Charge]) -> None:
        """Count a request against all its limits, or raise the Refusal OKX answers and count none of them."""
        if self._factor == 0:
            return
        now = self._clock()
        meters = []
        for charge in charges:
            meter = self._meter(charge, now)
            if meter.total + charge.cost > max(1, charge.limit.count * self._factor):
                raise Refusal(charge.limit.code)
            meters.append((meter, charge.cost))
        for meter, cost in meters:
            meter.taken.append((now, cost))
            meter.total += cost

    def _meter(self, charge: Charge, now: float) -> _Meter:
        key = (charge.limit.name, charge.key)
        meter = self._meters.get(key)
        if meter is None:
            if len(self._meters) >= MAX_METERS:
                # The newest meters are the ones still counting; whole windows have passed for the oldest.
                for old in list(self._meters)[: MAX_METERS // 2]:
                    del self._meters[old]
            meter = self._meters[key] = _Meter()
        meter.forget_before(now - charge.limit.seconds)
        return meter


def request_charges(limit: Limit, *, ip: str, account: str, params: Mapping[str, str]) -> list[Charge]:
    """What a request other than an order takes."""
    owner = ip if limit.scope in {Scope.IP, Scope.IP_INSTRUMENT} else account
    if limit.scope in {Scope.IP_INSTRUMENT, Scope.USER_INSTRUMENT}:
        owner = f"{owner}|{params.get('instId', '')}"
    return [Charge(limit, owner)]


def order_charges(limit: Limit, account: str, orders: Iterable[Mapping[str, Any]]) -> list[Charge]:
    """What placing, canceling or amending takes: per instrument, by number of orders, one alone as a single order."""
    wanted = Counter(str(order.get("instId", "")) for order in orders)
    total = wanted.total()
    single = total <= 1 or limit.name not in WITH_BATCH
    used = limit if single else WITH_BATCH[limit.name]
    charges = [Charge(used, f"{account}|{instrument}", count) for instrument, count in wanted.items()]
    if limit is not CANCEL and limit not in ALGOS:
        charges.append(Charge(SUB_ACCOUNT, account, total))
    return charges
