"""A replay from start to end: recorded prices, the desk's own runner, exits, limits, executor and books."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from kontor.config import KontorConfig
from kontor.domain.fill import Fill
from kontor.domain.market import Candles
from kontor.domain.order import OPEN, OrderState
from kontor.domain.portfolio import coins_of
from kontor.domain.ranges import RANGE_CANDLES, RANGE_TIMEFRAMES, Range, nearest_levels
from kontor.domain.strategy_position import by_hand
from kontor.errors import ConfigError, KontorError
from kontor.execution.executor import Executor
from kontor.execution.halt import halted
from kontor.execution.track import track
from kontor.execution.view import load_view
from kontor.paper.model import AccountConfig, VenueConfig
from kontor.paper.prices.replay import ReplayError, ReplaySource
from kontor.paper.venue import Venue
from kontor.ports import Store
from kontor.replay.exchange import ReplayExchange
from kontor.resilience.virtual_time import VirtualClock, VirtualLoop
from kontor.strategies.hosts import DirectHost
from kontor.trading.exits import check_exits
from kontor.trading.ledger import compare_with_bills, read_ledger
from kontor.trading.loading import Ready, enabled, loading
from kontor.trading.monitor import monitor_risk
from kontor.trading.positions import holders
from kontor.trading.runner import run_strategies
from kontor.trading.stops import keep_stops

ACCOUNT = "replay"
STEP = timedelta(minutes=1)
_SETTLE, _SETTLE_TRIES = 0.25, 80
_RANGE_MINUTES = 5
_REFUSED = frozenset({OrderState.DENIED, OrderState.REJECTED})
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What is replayed: settings with strategies, a folder of recorded candles, the time in it, and the money."""

    config: KontorConfig
    candles: Path
    begin: datetime | None = None
    end: datetime | None = None
    capital: Decimal = Decimal(100_000)


@dataclass(slots=True)
class ReplayResult:
    """What came of it: fills and equity, oldest first, the time it covers, what failed, orders by state."""

    begin: datetime
    end: datetime
    capital: Decimal
    fills: list[tuple[str, Fill]] = field(default_factory=list)
    equity: list[tuple[datetime, Decimal]] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    # Orders that the gate or the exchange refused, by its reason.
    refused: dict[str, int] = field(default_factory=dict)
    halted: str | None = None
    # Profit and loss by strategy, after fees and funding; open positions are in the equity only.
    earned: dict[str, Decimal] = field(default_factory=dict)
    # Where our ledger and the exchange's own account statement differ, by currency; None: nothing was traded.
    apart: dict[str, Decimal] | None = None
    # Where positions of strategies and people do not sum to what the exchange holds, by key: theirs less ours.
    positions_apart: dict[str, Decimal] = field(default_factory=dict)
    # Rows of the ledger by kind.
    booked: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplayDesk:
    """The parts of one account, in memory."""

    account: str
    config: KontorConfig
    exchange: ReplayExchange
    store: Store
    clock: VirtualClock
    host: DirectHost


class _VenueTime:
    """The venue's clock: the replay's own."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)

    def resume_at(self, at_ms: int) -> None:
        del at_ms


def replay(plan: ReplayPlan, store: Store, progress: Progress = lambda _: None) -> ReplayResult:
    """Run it to its end on a virtual clock; the same plan gives the same result, byte for byte."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(plan, store, progress))


async def _run(plan: ReplayPlan, store: Store, progress: Progress) -> ReplayResult:
    first, last = _recorded(plan.candles)
    begin, end = max(plan.begin or first, first), min(plan.end or last, last)
    if begin >= end:
        raise ConfigError(f"nothing is recorded there; the candles reach from {first} to {last}", where="--from, --to")
    clock = VirtualClock(begin)
    accounts = (AccountConfig(ACCOUNT, "key", "", "", ((plan.config.capital_currency, plan.capital),)),)
    # What lies before `begin` is history, so that the recorded moments stay as they are.
    warmup = (begin - first) / (last - first)
    config = VenueConfig(source=f"replay:{plan.candles}", replay_warmup=warmup, accounts=accounts)
    venue = Venue(config, clock=_VenueTime(clock))
    exchange = ReplayExchange(venue, ACCOUNT, clock, plan.config.capital_currency)
    desk = ReplayDesk(ACCOUNT, plan.config, exchange, store, clock, DirectHost())
    result = ReplayResult(begin, end, plan.capital)
    await _check(desk)
    await _refresh(desk)
    await monitor_risk(desk)
    while clock.now() < end:
        await _step(desk, result)
        progress((clock.now() - begin) / (end - begin))
        await clock.sleep((STEP - (clock.now() - begin) % STEP).total_seconds())
    await _finish(desk, result)
    progress(1.0)
    return result


async def _check(desk: ReplayDesk) -> None:
    loaded = await _loaded(desk)
    if failed := [reason for each in loaded if not isinstance(each, Ready) for _, reason in [each]]:
        raise ConfigError("; ".join(failed))
    if not loaded:
        raise ConfigError("no strategy is enabled; name one", where="strategies")


async def _loaded(desk: ReplayDesk) -> list[Ready | tuple[str, str]]:
    return await asyncio.gather(*loading(desk, desk.host, enabled(desk.config), seconds=math.inf))


async def _step(desk: ReplayDesk, result: ReplayResult) -> None:
    """One minute: the updaters, then the three phases, each whatever becomes of the others, then the executor."""
    await _refresh(desk)
    try:
        for run in await run_strategies(desk, desk.host):
            if run.error is not None:
                _count(result, f"{run.strategy}: {run.error}")
    except KontorError as error:
        _count(result, f"run-strategies: {error}")
    await _execute(desk)
    for name, phase in (("stops", keep_stops), ("check-exits", check_exits), ("monitor-risk", monitor_risk)):
        work = asyncio.ensure_future(phase(desk))
        # An exit waits until resting orders are canceled: somebody has to do it.
        done, _ = await asyncio.wait({work}, timeout=_SETTLE)
        if not done or await _is_busy(desk):
            await _execute(desk, until=work)
        try:
            await work
        except KontorError as error:
            _count(result, f"{name}: {error}")
    await _note_equity(desk, result)


async def _note_equity(desk: ReplayDesk, result: ReplayResult) -> None:
    """What the account is worth, coins at their last price."""
    view = await load_view(desk, (), reduces=True)
    if view.equity is not None:
        result.equity.append((desk.clock.now(), view.equity))


def _count(result: ReplayResult, error: str) -> None:
    result.errors[error] = result.errors.get(error, 0) + 1


async def _refresh(desk: ReplayDesk) -> None:
    """What the updaters keep fresh: prices, account, orders; ranges every five minutes where somebody wants them."""
    now, store, exchange = desk.clock.now(), desk.store, desk.exchange
    exchange.flush()
    tickers = await exchange.fetch_tickers()
    await store.market.save_tickers(desk.account, list(tickers.values()), now)
    loaded = await _loaded(desk)
    ready = [each for each in loaded if isinstance(each, Ready)]
    symbols = {symbol for each in ready if each.need.ranges for symbol in each.settings.symbols}
    if symbols and now.minute % _RANGE_MINUTES == 0:
        found = [await _range(desk, symbol, float(tickers[symbol].last or 0)) for symbol in sorted(symbols)]
        await store.market.save_ranges(desk.account, found)
    await _refresh_account(desk)


async def _refresh_account(desk: ReplayDesk) -> None:
    store, exchange, now = desk.store, desk.exchange, desk.clock.now()
    await store.account.save_balance(desk.account, await exchange.fetch_balance())
    await store.account.save_positions(desk.account, await exchange.fetch_positions(), now)
    await store.account.save_open_orders(desk.account, await exchange.fetch_open_orders(), now)
    await track(desk)


async def _range(desk: ReplayDesk, symbol: str, last: float) -> Range:
    sides: dict[str, tuple[Decimal, str]] = {}
    for timeframe in RANGE_TIMEFRAMES:
        candles: Candles = await desk.exchange.fetch_candles(symbol, timeframe, limit=RANGE_CANDLES)
        for name, level in zip(("high", "low"), nearest_levels(candles, last), strict=True):
            if level is not None:
                sides.setdefault(name, (Decimal(str(level)), timeframe))
        if len(sides) == 2:  # noqa: PLR2004 - both sides
            break
    high, low = sides.get("high", (None, None)), sides.get("low", (None, None))
    return Range(symbol, high[0], low[0], high[1], low[1], desk.clock.now())


async def _is_busy(desk: ReplayDesk) -> bool:
    """Something waits for the executor."""
    orders = desk.store.orders
    if await orders.find(desk.account, states={OrderState.INITIALIZED, OrderState.SUBMITTED}, limit=1):
        return True
    return bool(await orders.find(desk.account, states=OPEN, cancel_requested=True, limit=1))


async def _execute(desk: ReplayDesk, until: "asyncio.Future[Any] | None" = None) -> None:
    """Let the desk's own executor do what waits, and then book what became of it."""
    if until is None and not await _is_busy(desk):
        return
    executor = Executor(desk.account, desk.store, desk.exchange, desk.clock, desk.config.orders, "replay")
    running = asyncio.create_task(executor.run())
    for _ in range(_SETTLE_TRIES):
        await desk.clock.sleep(_SETTLE)
        if (until is None or until.done()) and not await _is_busy(desk):
            break
    executor.stop()
    await running
    await _refresh_account(desk)


async def _positions_apart(desk: ReplayDesk) -> dict[str, Decimal]:
    """What the exchange says is held, and what the fills of strategies, and of people, come to."""
    markets = await desk.exchange.load_markets()
    balance = await desk.exchange.fetch_balance()
    held = {each.symbol: each.signed_quantity for each in await desk.exchange.fetch_positions()}
    held |= coins_of(balance)
    shared = (await holders(desk, markets)).shared
    left = by_hand(shared.positions, held, markets)
    differ = {key: left.get(key, Decimal(0)) - shared.by_hand.get(key, Decimal(0)) for key in {*left, *shared.by_hand}}
    return {key: difference for key, difference in sorted(differ.items()) if difference}


async def _finish(desk: ReplayDesk, result: ReplayResult) -> None:
    await _refresh_account(desk)
    result.positions_apart = await _positions_apart(desk)
    result.fills = list(await desk.store.orders.strategy_fills(desk.account))
    counts = await desk.store.orders.counts(desk.account)
    result.orders = {state.value: count for state, count in sorted(counts.items())}
    for order in await desk.store.orders.find(desk.account, states=_REFUSED, limit=1_000_000):
        rule = f"{order.state}: {(order.reason or '').partition(':')[0]}"
        result.refused[rule] = result.refused.get(rule, 0) + 1
    compared = await compare_with_bills(desk)
    result.apart = None if compared is None else dict(compared.apart)
    ledger = await read_ledger(desk.store, desk.account)
    result.booked = dict(sorted(Counter(entry.kind.value for entry in ledger.entries).items()))
    for line in ledger.profit(UTC):
        result.earned[line.strategy] = result.earned.get(line.strategy, Decimal(0)) + line.net
    halt = await halted(desk.store.desk, desk.account)
    result.halted = halt.reason if halt else None
    await _note_equity(desk, result)


def _recorded(folder: Path) -> tuple[datetime, datetime]:
    try:
        first, last = ReplaySource(folder).span()
    except (ReplayError, OSError) as error:
        raise ConfigError(str(error), where="--candles") from None
    return datetime.fromtimestamp(first * 60, UTC), datetime.fromtimestamp(last * 60, UTC)
