"""Running the strategies: each is asked with its own view, checked, and what it wants is queued through the gate."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from kontor.domain.exposure import only_reduces
from kontor.domain.identity import client_order_id
from kontor.domain.market import TIMEFRAMES, MarketKind
from kontor.domain.order import OrderState, Side
from kontor.errors import KontorError
from kontor.execution.cancel import request_cancels
from kontor.execution.parts import Parts
from kontor.execution.submit import place_all
from kontor.strategies.hosts import Host
from kontor.strategies.protocol import Decision, StrategyOrder
from kontor.strategies.view import MarketView
from kontor.trading.books import UNITS, Books, load_books
from kontor.trading.checks import Closings, Refusal, Share, checked
from kontor.trading.consent import needs_consent
from kontor.trading.data import CandleData, load_candles, merged_needs
from kontor.trading.exit_rules import EXIT_RULES
from kontor.trading.loading import Ready, enabled, loading
from kontor.trading.strategy_view import STATE, view_of

log = logging.getLogger(__name__)

# What a run may take; its flow has five seconds more to open the desk, to alert and to show what was done.
RUN_SECONDS = 25.0
# Loading one, in a process that is started for it, may take so long; the others do not wait longer than this.
START_SECONDS, PATIENCE_SECONDS = 18.0, 2.0


@dataclass(slots=True)
class StrategyRun:
    """What one strategy did in a run; `error` says why it did nothing."""

    strategy: str
    error: str | None = None
    placed: list[str] = field(default_factory=list)
    denied: dict[str, str] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


async def run_strategies(parts: Parts, host: Host, *, seconds: float = RUN_SECONDS) -> list[StrategyRun]:
    """Ask every enabled strategy once, within so many seconds; what goes wrong with one touches no other.

    Orders are named after strategy, symbol, candle and leg: whatever ends this run, the next one finds those it made.
    """
    until = _now() + seconds
    settings = enabled(parts.config)
    await host.keep_only(parts.account, settings)
    starts = loading(parts, host, settings, seconds=min(START_SECONDS, seconds))
    try:
        early = list(starts)
        if starts:
            done, _ = await asyncio.wait(starts, timeout=PATIENCE_SECONDS)
            early = [start for start in starts if start in done]
        late = [start for start in starts if start not in early]
        waves = [_run_wave(parts, host, early, until, first=True)]
        waves += [_late_one(parts, host, start, until) for start in late]
        # All to their end: the desk must not be closed under one because another has lost the store.
        ended = await asyncio.gather(*waves, return_exceptions=True)
    finally:
        for start in starts:
            start.cancel()
    runs: list[StrategyRun] = []
    for wave in ended:
        if isinstance(wave, BaseException):
            raise wave
        runs += wave
    return sorted(runs, key=lambda run: run.strategy)


Start = asyncio.Task[Ready | tuple[str, str]]


async def _late_one(parts: Parts, host: Host, start: Start, until: float) -> list[StrategyRun]:
    """One whose process is only being started, with the books of the moment when it is; it waits for no other."""
    await asyncio.wait([start])
    return await _run_wave(parts, host, [start], until, first=False)


async def _run_wave(
    parts: Parts, host: Host, starts: Sequence[Start], until: float, *, first: bool
) -> list[StrategyRun]:
    results = [start.result() for start in starts]
    ready = [each for each in results if isinstance(each, Ready)]
    runs = [StrategyRun(*each) for each in results if not isinstance(each, Ready)]
    await _keep_exit_rules(parts, ready)
    symbols = {symbol for each in ready for symbol in each.settings.symbols}
    books = await load_books(parts, symbols)
    if first:
        await parts.store.desk.set_attribute(parts.account, UNITS, books.units.as_text(), parts.clock.now())
        await _cancel_orphans(parts, books)
    if ready:
        needs = [(need, each.settings.symbols) for each in ready for need in each.need.all()]
        data = await load_candles(parts, merged_needs(needs))
        runs += await asyncio.gather(*(_run_one(parts, host, each, books, data, until) for each in ready))
    return runs


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _run_one(parts: Parts, host: Host, each: Ready, books: Books, data: CandleData, until: float) -> StrategyRun:
    run = StrategyRun(each.name)
    try:
        view = await view_of(parts, each, books, data)
        run.left_out = dict(view.left_out)
        if not len(view):
            return run
        said = await host.decide(each.hosted(parts.account), view, seconds=until - _now())
        decision = checked(said, each.settings, view)
        await _carry_out(parts, each, books, view, decision, run)
    except KontorError as error:
        run.error = str(error)
        log.error("strategy failed account=%s strategy=%s error=%s", parts.account, each.name, error)  # noqa: TRY400
    except Exception as error:
        # A mistake of ours must not stop the others either.
        run.error = f"{type(error).__name__}: {error}"
        log.exception("strategy failed account=%s strategy=%s", parts.account, each.name)
    return run


async def _carry_out(
    parts: Parts, each: Ready, books: Books, view: MarketView, decision: Decision, run: StrategyRun
) -> None:
    """Cancels first, then orders, then the state: a run that ends between them is finished by the next one."""
    actor = f"strategy {each.name}"
    if decision.cancels:
        asked = await request_cancels(parts, actor=actor, client_order_ids=decision.cancels)
        run.canceled = [order.client_order_id for order in asked]
    prefix = await parts.store.desk.desk_prefix()
    accepted = _within_share(parts, each, books, view, decision.orders, run, prefix)
    if accepted:
        intents = {
            _name(prefix, each, view, order.intent.symbol, order.leg): replace(
                order.intent,
                strategy=each.name,
                candles_until=view[order.intent.symbol].candle_at + TIMEFRAMES[each.need.timeframe],
                candle_span=TIMEFRAMES[each.need.timeframe],
                stop_price=_stop_price(parts, each, order, view),
            )
            for order in accepted
        }
        for order in await place_all(parts, intents, actor=actor):
            if order.state is OrderState.DENIED:
                run.denied[order.client_order_id] = order.reason or ""
            else:
                run.placed.append(order.client_order_id)
    if decision.state is not None and decision.state != view.state:
        await parts.store.desk.set_attribute(parts.account, STATE + each.name, dict(decision.state), parts.clock.now())


def _within_share(
    parts: Parts,
    each: Ready,
    books: Books,
    view: MarketView,
    orders: Sequence[StrategyOrder],
    run: StrategyRun,
    prefix: str,
) -> list[StrategyOrder]:
    share, closings = Share(view, books, parts.config.units.max_positions), Closings(books, each.name)
    accepted: list[StrategyOrder] = []
    for wanted in orders:
        symbol = wanted.intent.symbol
        names = [_name(prefix, each, view, symbol, leg) for leg in (wanted.leg, f"{wanted.leg}-net")]
        found = closings.parts(wanted, view[symbol].market, names)
        if isinstance(found, str):
            _refuse(run, wanted, found)
            continue
        for order in found:
            reason = share.refusal(order.intent) if order.leg == wanted.leg else None
            market = view[order.intent.symbol].market
            closes = only_reduces(market, order.intent.side, reduce_only=order.intent.reduce_only)
            if reason is None and not closes and order.leg == wanted.leg:
                reason = needs_consent(parts, market)
            if reason is None and books.view.halted and not closes:
                # Not queued at all: it would be denied, candle after candle.
                reason = f"halted: {books.view.halted}"
            if reason is None:
                accepted.append(order)
            else:
                _refuse(run, order, reason)
    return accepted


def _name(prefix: str, each: Ready, view: MarketView, symbol: str, leg: str) -> str:
    return client_order_id(prefix, "strategy", each.name, symbol, view[symbol].candle_at, leg)


def _refuse(run: StrategyRun, order: StrategyOrder, reason: str) -> None:
    symbol, leg = order.intent.symbol, order.leg
    run.refused.append(Refusal(symbol, leg, reason))
    log.info("decision refused strategy=%s symbol=%s leg=%s reason=%s", run.strategy, symbol, leg, reason)


def _stop_price(parts: Parts, each: Ready, order: StrategyOrder, view: MarketView) -> Decimal | None:
    """The stop that an entry brings along where the venue takes one: it stands though the desk dies before the fill."""
    intent, market = order.intent, view[order.intent.symbol]
    if not parts.exchange.profile.attached_stops or market.market.kind is not MarketKind.SWAP or intent.reduce_only:
        return None
    # What closes, or turns around, what is held opens no position of its whole quantity.
    if market.position.quantity and (market.position.quantity > 0) != (intent.side is Side.BUY):
        return None
    percent = each.settings.exits.stop_loss_percent or parts.config.protection.stop_percent
    sign = 1 if intent.side is Side.BUY else -1
    return max((intent.price or market.price) * (1 - sign * percent / 100), market.market.price_step)


async def _cancel_orphans(parts: Parts, books: Books) -> None:
    """Entries of a strategy that no longer runs, or not there, must not open a position that nobody manages."""
    for name, orders in books.orders.items():
        settings = parts.config.strategies.get(name)
        traded = settings.symbols if settings is not None and settings.enabled else ()
        entries = [
            order.client_order_id
            for order in orders
            if order.symbol not in traded
            and order.cancel_requested_at is None
            and not only_reduces(books.view.markets.get(order.symbol), order.side, reduce_only=order.reduce_only)
        ]
        if entries:
            await request_cancels(parts, actor=f"strategy {name} does not run there any more", client_order_ids=entries)


async def _keep_exit_rules(parts: Parts, ready: Sequence[Ready]) -> None:
    """A strategy that is removed with an open position still has its exits."""
    rules: Mapping[str, Any] = {each.name: each.settings.exits.model_dump(mode="json") for each in ready}
    known = await parts.store.desk.attribute(parts.account, EXIT_RULES)
    before = known.value if known and known.value else {}
    if any(before.get(name) != rule for name, rule in rules.items()):
        await parts.store.desk.set_attribute(parts.account, EXIT_RULES, dict(rules), parts.clock.now(), merge=True)
