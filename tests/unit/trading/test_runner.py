"""Running strategies: each is asked, checked and contained, and no candle and leg becomes two orders."""

import asyncio
from decimal import Decimal

import pytest

from kontor.domain.order import OrderState
from kontor.errors import StoreUnavailable, StrategyFailed
from kontor.strategies import DataNeed, MarketView
from kontor.strategies.hosts import DirectHost, Hosted
from kontor.trading import runner
from tests.fakes.desk import BTC, ETH
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.trading.scripted import desk_with, strategy

S = OrderState


@in_virtual_time
async def test_an_intent_becomes_one_order_of_its_strategy_through_the_gate() -> None:
    desk = desk_with({"one": strategy()})
    async with desk.executing():
        run = (await desk.run())["one"]
        assert (run.error, len(run.placed)) == (None, 1)
        order = await desk.until_state(await desk.order(run.placed[0]), S.FILLED)
    assert (order.strategy, order.actor, order.quantity) == ("one", "strategy one", Decimal(1))


@in_virtual_time
async def test_a_repeated_run_on_the_same_candle_orders_nothing_twice() -> None:
    """A flow run may be repeated by a person, a retry or a restart; the candle and leg name the order."""
    desk = desk_with({"one": strategy()})
    first = (await desk.run())["one"]
    again = (await desk.run())["one"]
    assert first.placed == again.placed
    assert await desk.store.orders.counts(desk.account) == {S.INITIALIZED: 1}
    await asyncio.sleep(60)
    later = (await desk.run())["one"]
    assert later.placed != first.placed
    assert await desk.store.orders.counts(desk.account) == {S.INITIALIZED: 2}


@in_virtual_time
async def test_two_strategies_with_the_same_wish_have_an_order_each() -> None:
    desk = desk_with({"one": strategy(), "two": strategy()})
    runs = await desk.run()
    assert len({*runs["one"].placed, *runs["two"].placed}) == 2


@in_virtual_time
async def test_what_goes_wrong_with_one_is_told_and_the_others_go_on() -> None:
    """Behaviour 23: an error in one never skips the others."""
    misdeeds = ["raises", "nonsense", "not a number", "foreign symbol", "foreign cancel", "state"]
    bad = {f"bad-{n}": strategy(misdeed=misdeed) for n, misdeed in enumerate(misdeeds)}
    broken = {"gone": strategy("no.such.module:Class"), "typo": strategy("sma_corss")}
    desk = desk_with({"good": strategy(), **bad, **broken})
    runs = await desk.run()
    assert len(runs["good"].placed) == 1
    assert await desk.store.orders.counts(desk.account) == {S.INITIALIZED: 1}
    errors = {name: run.error or "" for name, run in runs.items() if name != "good"}
    assert "ZeroDivisionError: division by zero" in errors["bad-0"]
    assert "decide() must return a Decision, not list" in errors["bad-1"]
    assert "is not a Decimal above 0" in errors["bad-2"]
    assert "'XRP/USD:USD', which is not in its view" in errors["bad-3"]
    assert "not an open order of its own" in errors["bad-4"]
    assert "its state is not JSON" in errors["bad-5"]
    assert errors["gone"].startswith("kontor.yaml: strategies.gone.use: module 'no.such.module' cannot be imported")
    assert "there is no strategy 'sma_corss'; known are grid, range_reversion, sma_cross" in errors["typo"]


@in_virtual_time
async def test_a_flood_is_refused_as_a_whole() -> None:
    desk = desk_with({"flood": strategy(count=10_000), "good": strategy()})
    runs = await desk.run()
    assert "wants 10000 orders and cancels at once" in str(runs["flood"].error)
    assert await desk.store.orders.counts(desk.account) == {S.INITIALIZED: 1}


@in_virtual_time
async def test_state_is_kept_between_runs() -> None:
    desk = desk_with({"one": strategy()})
    for _ in range(3):
        await desk.run()
    kept = await desk.store.desk.attribute(desk.account, runner.STATE + "one")
    assert kept is not None
    assert kept.value == {"runs": 3}


@in_virtual_time
async def test_a_symbol_without_fresh_or_whole_candles_is_left_out_with_the_reason() -> None:
    desk = desk_with({"one": strategy(symbols=(BTC, ETH, "NOPE/USD:USD"))})
    desk.prices.holes = (2,)
    desk.prices.closes[ETH] = [1.0, 2.0, 3.0]
    run = (await desk.run())["one"]
    assert run.placed == []
    assert "1m candles: a gap after" in run.left_out[BTC]
    assert run.left_out[ETH] == "1m candles: 2 of the 3 needed"
    assert run.left_out["NOPE/USD:USD"] == "it is not a market of this venue"


class SlowStart(DirectHost):
    """Some take their time to be loaded, as a process on a busy machine does; `stuck` never is."""

    async def need(self, who: Hosted, *, seconds: float) -> DataNeed:
        if who.name == "slow":
            await asyncio.sleep(5)
        if who.name == "stuck":
            await asyncio.sleep(seconds)
            raise StrategyFailed(f"was not ready within {seconds:.0f} s")
        return await super().need(who, seconds=seconds)


@in_virtual_time
async def test_one_that_is_slow_to_start_holds_up_neither_the_others_nor_the_end_of_the_run() -> None:
    """The flow has 30 seconds: a slow start once ended it before anything was told, and the others waited for it."""
    desk = desk_with({"good": strategy(), "slow": strategy(), "stuck": strategy(timeout_seconds=20)})
    began = desk.clock.monotonic()
    run = asyncio.create_task(desk.run(SlowStart()))
    for count, seconds in ((1, 3), (2, 6)):

        async def placed(wanted: int = count) -> bool:
            return (await desk.store.orders.counts(desk.account)).get(S.INITIALIZED, 0) >= wanted

        await desk.until(placed)
        assert desk.clock.monotonic() - began < seconds
    runs = await run
    assert desk.clock.monotonic() - began < 25
    assert [len(runs[name].placed) for name in ("good", "slow", "stuck")] == [1, 1, 0]
    assert (runs["slow"].error, runs["stuck"].error) == (None, "was not ready within 18 s")


@in_virtual_time
async def test_a_strategy_is_given_no_more_time_than_its_run_has_left() -> None:
    desk = desk_with({"slow": strategy(timeout_seconds=20)})
    given: list[float] = []

    class Noting(SlowStart):
        async def decide(self, who: Hosted, view: MarketView, *, seconds: float) -> object:
            given.append(seconds)
            return await super().decide(who, view, seconds=seconds)

    await desk.refresh()
    [run] = await runner.run_strategies(desk, Noting(), seconds=20)
    assert run.placed
    assert 0 < given[0] <= 15


@in_virtual_time
async def test_what_is_lost_with_the_store_is_raised_as_such() -> None:
    """The hook that tells of it asks for the error's kind."""
    desk = desk_with({"good": strategy(), "slow": strategy()})
    await desk.refresh()
    desk.store.desk.set_attribute = _unavailable  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(StoreUnavailable):
        await runner.run_strategies(desk, SlowStart())


async def _unavailable(*_: object, **__: object) -> None:
    raise StoreUnavailable("the disk is full")
