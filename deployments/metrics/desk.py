"""A desk as its store has it, account by account: read when somebody asks, so that it costs trading nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from deployments.desk_status import DeskStatus, read_status
from deployments.home import Home
from deployments.metrics.families import counter, gauge
from kontor.errors import KontorError

Look = Callable[[str], Awaitable[DeskStatus]]
LookAtAll = Callable[[Sequence[str]], list[DeskStatus]]
#: A store that does not answer for so long has not answered.
LOOK_SECONDS = 10.0


class DeskCollector(Collector):
    """Every account's status as gauges; an account that cannot be read has `kontor_up` 0 and nothing else."""

    def __init__(self, accounts: Callable[[], Sequence[str]], look: LookAtAll) -> None:
        self._accounts, self._look = accounts, look

    def collect(self) -> Iterator[Metric]:
        """Look once; called in a thread of the HTTP server for each scrape."""
        accounts = self._accounts()
        found = self._look(accounts)
        known = {status.account for status in found}
        ups = [([account], float(account in known)) for account in accounts]
        yield gauge("kontor_up", "Whether the account's status could be read.", ["account"], ups)
        families: dict[str, Metric] = {}
        for family in (each for status in found for each in metrics(status)):
            if family.name in families:
                families[family.name].samples.extend(family.samples)
            else:
                families[family.name] = family
        yield from families.values()

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering must not read a store that may not be there yet."""
        return iter(())


def from_outside(home: Home) -> LookAtAll:
    """Looks at a desk of which nothing is open here."""

    async def look(account: str) -> DeskStatus:
        return await read_status(home, account)

    return lambda accounts: asyncio.run(look_at(accounts, look))


def from_inside(loop: asyncio.AbstractEventLoop, look: Look) -> LookAtAll:
    """Looks at a store that a loop of this process has open."""

    def ask(accounts: Sequence[str]) -> list[DeskStatus]:
        looking = look_at(accounts, look)
        try:
            found = asyncio.run_coroutine_threadsafe(looking, loop)
        except RuntimeError:
            # The loop is closed: the process ends.
            looking.close()
            return []
        try:
            return found.result(LOOK_SECONDS)
        except TimeoutError:
            found.cancel()
            return []

    return ask


async def look_at(accounts: Sequence[str], look: Look) -> list[DeskStatus]:
    """The accounts that can be read."""
    found = []
    for account in accounts:
        try:
            found.append(await look(account))
        except KontorError:
            continue
    return found


def metrics(status: DeskStatus, now: datetime | None = None) -> Iterator[Metric]:
    """One account's gauges; money in the capital currency, times in seconds."""
    moment = now or datetime.now(UTC)
    who = status.account
    ages = [([who, each.updater], each.age.total_seconds() if each.age else None) for each in status.updaters]
    yield gauge("kontor_updater_age_seconds", "Since the updater's last success.", ["account", "updater"], ages)
    every = [([who, each.updater], each.interval.total_seconds()) for each in status.updaters]
    yield gauge("kontor_updater_interval_seconds", "How often it should run.", ["account", "updater"], every)
    well = [([who, each.updater], float(each.ok)) for each in status.updaters]
    yield gauge("kontor_updater_ok", "1 while it succeeds in its interval.", ["account", "updater"], well)
    orders = [([who, state], float(count)) for state, count in status.orders.items()]
    yield gauge("kontor_orders", "Orders by state; INITIALIZED is the queue.", ["account", "state"], orders)
    oldest = status.oldest_unknown.total_seconds() if status.oldest_unknown else 0.0
    yield gauge("kontor_oldest_unknown_seconds", "Age of the oldest unknown outcome.", ["account"], [([who], oldest)])
    halted = [([who], float(status.halt is not None))]
    yield gauge("kontor_halted", "1 while trading is halted.", ["account"], halted)
    yield from _money(status)
    yield from _connections(status, moment)


def _money(status: DeskStatus) -> Iterator[Metric]:
    who, balance = status.account, status.balance
    if balance is not None:
        kinds = {"total": balance.total, "free": balance.free, "used": balance.used}
        samples = [([who, balance.currency, kind], float(figure)) for kind, figure in kinds.items()]
        yield gauge("kontor_balance", "The account's capital.", ["account", "currency", "kind"], samples)
    figures = (status.equity, status.initial_capital, status.transferred)
    capital = [([who], None if figure is None else float(figure)) for figure in figures]
    yield gauge("kontor_equity", "What the account is worth, coins at their price.", ["account"], capital[:1])
    yield gauge("kontor_initial_capital", "What it began with.", ["account"], capital[1:2])
    yield gauge("kontor_transferred", "What came (positive) or left since, by transfers.", ["account"], capital[2:])
    held = [([who, each.symbol, each.side.value], float(each.quantity)) for each in status.positions]
    yield gauge("kontor_position_quantity", "In base currency.", ["account", "symbol", "side"], held)
    gained = [
        ([who, each.symbol, each.side.value], None if each.unrealized_pnl is None else float(each.unrealized_pnl))
        for each in status.positions
    ]
    yield gauge("kontor_unrealized_pnl", "Of an open position.", ["account", "symbol", "side"], gained)


def _connections(status: DeskStatus, now: datetime) -> Iterator[Metric]:
    who = status.account
    states = [([who, each.process, each.status.name, str(each.status.state)], 1.0) for each in status.breakers]
    yield gauge(
        "kontor_breaker_not_closed", "1 for each breaker that is.", ["account", "process", "name", "state"], states
    )
    fresh = [([who, each.channel], float(each.is_fresh)) for each in status.streams]
    age = [([who, each.channel], max((now - each.at).total_seconds(), 0.0)) for each in status.streams]
    yield gauge("kontor_stream_age_seconds", "Since the stream last said so.", ["account", "channel"], age)
    yield gauge("kontor_stream_fresh", "1 while the stream delivers.", ["account", "channel"], fresh)
    told = status.stream_messages.items()
    unknown = [([who, name, kind], float(count)) for name, each in told for kind, count in each.unknown.items()]
    yield counter("kontor_stream_unknown", "Messages nobody understood.", ["account", "stream", "keys"], unknown)
    unreadable = [([who, name], float(each.unreadable)) for name, each in told]
    yield counter("kontor_stream_unreadable", "Messages that broke a reader.", ["account", "stream"], unreadable)
    drift = (status.clock_drift or {}).get("seconds")
    if drift is not None:
        yield gauge("kontor_clock_drift_seconds", "Exchange minus this machine.", ["account"], [([who], float(drift))])
    taken = [([who], now.timestamp())]
    yield gauge("kontor_status_read_at_seconds", "When this was read, as a Unix time.", ["account"], taken)
