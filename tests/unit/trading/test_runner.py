"""Running strategies: each is asked, checked and contained, and no candle and leg becomes two orders."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.intent import OrderIntent
from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState, OrderType, Side
from kontor.errors import StoreUnavailable, StrategyFailed
from kontor.execution.halt import halt
from kontor.strategies import DataNeed, Decision, MarketView, Strategy, StrategyOrder, StrategyParameters
from kontor.strategies.hosts import DirectHost, Hosted
from kontor.trading import runner
from kontor.trading.monitor import monitor_risk
from tests.fakes.desk import BTC, ETH
from tests.fakes.trading import TradingDesk
from tests.fakes.venue import market
from tests.fakes.virtual_time import in_virtual_time

D = Decimal
HERE = "tests.unit.trading.test_runner"
SPOT = "BTC/USD"
S = OrderState


class Parameters(StrategyParameters):
    leg: str = "enter"
    quantity: Decimal = Decimal(1)
    misdeed: str = ""
    side: Side = Side.BUY
    count: int = 1


class Scripted(Strategy[Parameters]):
    """Buys on each symbol, or does what its parameters say."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 3)

    def decide(self, view: MarketView) -> Decision:
        p = self.parameters
        if p.misdeed == "raises":
            raise ZeroDivisionError("division by zero")
        if p.misdeed == "nonsense":
            return [1, 2, 3]  # pyright: ignore[reportReturnType]
        if p.misdeed == "not a number":
            return Decision.of([StrategyOrder("x", OrderIntent(BTC, Side.BUY, OrderType.MARKET, Decimal("nan")))])
        if p.misdeed == "foreign symbol":
            return Decision.of([StrategyOrder("x", OrderIntent("XRP/USD:USD", Side.BUY, OrderType.MARKET, Decimal(1)))])
        if p.misdeed == "foreign cancel":
            return Decision.of(cancels=["somebodys-order"])
        if p.misdeed == "state":
            return Decision.of(state={"view": view})
        orders = [
            market.at_market(f"{p.leg}-{number}", p.side, p.quantity)
            for market in view.values()
            for number in range(p.count)
        ]
        return Decision.of(orders, state={"runs": view.state.get("runs", 0) + 1})


class Crossing(Strategy[Parameters]):
    """Long by its target, and out again when told."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        return Decision.of(o for m in view.values() for o in m.target(self.parameters.quantity, self.parameters.leg))


class Closing(Strategy[Parameters]):
    """Closes all of it at once, whatever rests."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        held = [market for market in view.values() if market.quantity]
        return Decision.of(m.at_market("close", Side.SELL, m.quantity, reduce_only=True) for m in held)


def strategy(use: str = f"{HERE}:Scripted", symbols: tuple[str, ...] = (BTC,), **more: Any) -> dict[str, Any]:
    parameters = {k: v for k, v in more.items() if k in Parameters.model_fields}
    settings = {k: v for k, v in more.items() if k not in parameters}
    return {"use": use, "symbols": symbols, "parameters": parameters, "capital_share_percent": 10, **settings}


def desk_with(strategies: dict[str, dict[str, Any]], **sections: Any) -> TradingDesk:
    desk = TradingDesk(strategies, **sections)
    for symbol in (BTC, ETH):
        desk.move(symbol, "100", closes=[100.0] * 10)
    return desk


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
async def test_a_capital_share_bounds_positions_and_pending_entries_together() -> None:
    """10 % of 100,000 at a price of 100 is 100; 60 and 60 do not fit."""
    desk = desk_with({"one": strategy(symbols=(BTC, ETH), quantity=60)})
    run = (await desk.run())["one"]
    assert len(run.placed) == 1
    [refused] = run.refused
    assert refused.symbol == ETH
    assert refused.reason.startswith("capital_share: with it one would have 12000.00")


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


@in_virtual_time
async def test_while_fills_are_missing_a_symbol_is_left_out() -> None:
    """A filled order whose fills are not booked yet looks like no position: the strategy would buy again."""
    desk = desk_with({"one": strategy(f"{HERE}:Crossing")})
    async with desk.executing():
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
    desk.store.orders._fills.clear()
    run = {each.strategy: each for each in await runner.run_strategies(desk, host=DirectHost())}["one"]
    assert run.left_out == {BTC: "fills of its last order are not booked yet"}


@in_virtual_time
async def test_while_halted_entries_are_refused_and_closing_goes_on() -> None:
    desk = desk_with({"one": strategy(f"{HERE}:Crossing")})
    async with desk.executing():
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
        await halt(desk.store.desk, desk.account, "lunch", actor="a person", at=desk.clock.now())
        await asyncio.sleep(60)
        desk.reconfigure(strategies={"one": strategy(f"{HERE}:Crossing", quantity=2)})
        run = (await desk.run())["one"]
        assert [each.reason for each in run.refused] == ["halted: lunch"]
        desk.reconfigure(strategies={"one": strategy(f"{HERE}:Crossing", quantity=0)})
        [name] = (await desk.run())["one"].placed
        assert (await desk.until_state(await desk.order(name))).state is S.FILLED
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_two_strategies_on_one_symbol_keep_their_own_positions() -> None:
    """One is long 2, the other short 1: closing the long sells 2, and the short stays."""
    desk = desk_with(
        {
            "long": strategy(f"{HERE}:Crossing", quantity=2),
            "short": strategy(f"{HERE}:Crossing", quantity=-1),
        }
    )
    async with desk.executing():
        for run in (await desk.run()).values():
            for name in run.placed:
                await desk.booked(name)
        assert desk.venue.holding(BTC) == 1
        await asyncio.sleep(60)
        desk.reconfigure(
            strategies={
                "long": strategy(f"{HERE}:Crossing", quantity=0),
                "short": strategy(f"{HERE}:Crossing", quantity=-1),
            }
        )
        runs = await desk.run()
        closed = [await desk.until_state(await desk.order(name)) for name in runs["long"].placed]
    assert {(order.reduce_only, order.filled_quantity) for order in closed} == {(True, 1), (False, 1)}
    assert desk.venue.holding(BTC) == -1


@in_virtual_time
async def test_a_part_closed_by_hand_is_not_sold_again() -> None:
    """The strategy believes in 2, a person sold 1.5: its exit sells what is there, and does not turn it around."""
    desk = desk_with({"one": strategy(f"{HERE}:Crossing", quantity=2)})
    async with desk.executing():
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
        by_hand = await desk.want(BTC, Side.SELL, "1.5", reduce_only=True)
        assert (await desk.until_state(by_hand)).state is S.FILLED, by_hand.reason
        await asyncio.sleep(60)
        desk.reconfigure(strategies={"one": strategy(f"{HERE}:Crossing", quantity=0)})
        [name] = (await desk.run())["one"].placed
        assert (await desk.until_state(await desk.order(name))).filled_quantity == Decimal("0.5")
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_a_sale_on_spot_never_takes_the_coins_of_people_or_of_another_strategy() -> None:
    """A plain sell, not marked as closing: a strategy can only sell what it bought, and not twice."""
    desk = desk_with({name: strategy(symbols=(SPOT,)) for name in ("one", "two")})
    desk.move(SPOT, "100", closes=[100.0] * 10)
    async with desk.executing():
        mine = await desk.want(SPOT, quantity="5")
        await desk.booked(mine.client_order_id)
        for run in (await desk.run()).values():
            await desk.booked(run.placed[0])
        await asyncio.sleep(60)
        idle = strategy(f"{HERE}:Crossing", symbols=(SPOT,), quantity=1)
        selling = {"symbols": (SPOT,), "side": "sell", "leg": "out"}
        desk.reconfigure(strategies={"one": strategy(**selling, quantity="0.75", count=3), "two": idle})
        run = (await desk.run())["one"]
        sold = [(await desk.booked(name)).quantity for name in run.placed]
        assert sold == [Decimal("0.75"), Decimal("0.25")]
        assert [(each.leg, each.reason) for each in run.refused] == [
            ("out-2", f"own_position: of its 1 of {SPOT} nothing is left to close")
        ]
        await asyncio.sleep(60)
        run = (await desk.run())["one"]
        assert run.placed == []
        assert run.refused[0].reason == f"own_position: one holds nothing of {SPOT} that a sell would close"
    assert desk.venue.holding(SPOT) == 6


@in_virtual_time
async def test_what_rests_to_close_is_not_closed_a_second_time() -> None:
    """On a swap too: the venue would take the second order from what another strategy holds."""
    desk = desk_with({name: strategy() for name in ("one", "two")})
    async with desk.executing():
        for run in (await desk.run()).values():
            await desk.booked(run.placed[0])
        resting = await desk.want(BTC, Side.SELL, "0.6", "150", reduce_only=True, strategy="one")
        await desk.until_state(resting, S.ACCEPTED)
        await asyncio.sleep(60)
        desk.reconfigure(strategies={"one": strategy(f"{HERE}:Closing"), "two": strategy(enabled=False)})
        [name] = (await desk.run())["one"].placed
        assert (await desk.booked(name)).quantity == Decimal("0.4")
        # The same candle again: the same order, not another one of what is left.
        assert (await desk.run())["one"].placed == []


@in_virtual_time
async def test_entries_of_a_strategy_that_is_switched_off_are_canceled() -> None:
    desk = desk_with({"one": strategy("range_reversion", symbols=(BTC,))})
    await desk.save_range(BTC, "95", "105")
    async with desk.executing():
        run = (await desk.run())["one"]
        assert run.placed, run
        for name in run.placed:
            await desk.until_state(await desk.order(name), S.ACCEPTED)
        desk.reconfigure(strategies={"one": strategy("range_reversion", symbols=(BTC,), enabled=False)})
        await desk.run()
        for name in run.placed:
            assert (await desk.until_state(await desk.order(name))).state is S.CANCELED


class Buyer(Strategy[Parameters]):
    """Buys once, and notes what capital it saw."""

    def needs(self) -> DataNeed:
        return DataNeed("1m", 1)

    def decide(self, view: MarketView) -> Decision:
        [market] = view.values()
        orders = [] if market.position.is_open else [market.at_market("enter", Side.BUY, self.parameters.quantity)]
        return Decision.of(orders, state={"capital": str(view.capital), "unit": str(view.units.next_unit_value)})


@in_virtual_time
async def test_what_coins_were_bought_with_is_still_capital() -> None:
    """Half of the cash became coins: a share of the capital, and the next unit, are no smaller for it."""
    use = f"{HERE}:Buyer"
    desk = desk_with({"one": strategy(use, ("BTC/USD",), quantity=500, capital_share_percent=60, leg="x")})
    desk.move("BTC/USD", "100", closes=[100.0] * 10)
    async with desk.executing():
        run = (await desk.run())["one"]
        await desk.booked(run.placed[0])
        seen: list[Any] = []
        for price in ("100", "102"):
            desk.move("BTC/USD", price)
            await desk.run()
            state = await desk.store.desk.attribute(desk.account, "strategy_state:one")
            seen.append(state and state.value)
    first, second = seen
    assert D(first["capital"]) == 60_000
    assert D(second["capital"]) == 60_600
    assert D(second["unit"]) == D(first["unit"]) * D("1.01")


@in_virtual_time
async def test_dust_that_nobody_prices_keeps_no_strategy_from_trading() -> None:
    """max_exposure cannot count it, and need not: the venue was asked and has no price for it."""
    desk = desk_with({"one": strategy()}, risk={"max_exposure": 50_000})
    desk.venue.markets = {**desk.venue.markets, "DUST/USD": market("DUST/USD", MarketKind.SPOT)}
    desk.venue.unpriced.add("DUST/USD")
    desk.venue.coins["DUST"] = D(1)
    await desk.refresh()
    assert "unpriced" in next(iter((await desk.run())["one"].denied.values()))
    await monitor_risk(desk)
    desk.move(BTC, "101", closes=[100.0] * 11)
    await desk.clock.sleep(60)
    run = (await desk.run())["one"]
    assert (len(run.placed), run.denied) == (1, {})


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
