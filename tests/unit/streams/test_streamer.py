"""What every stream does about failures: the channel is stale at once, and one that fails for good ends the flow."""

import asyncio

import pytest

from kontor.config import KontorConfig
from kontor.errors import Rejected
from kontor.resilience.supervisor import GaveUp, flatten
from kontor.streams.freshness import load_channels, not_streamed
from kontor.streams.market import MarketStreamer
from kontor.streams.messages import load_messages
from tests.fakes.desk import ACCOUNT, BTC, ETH, SOL
from tests.fakes.telling import ToldDesk
from tests.fakes.virtual_time import in_virtual_time

CONFIG = KontorConfig.model_validate({"streams": {"flush_milliseconds": 50}})


async def a_desk(*channels: str) -> ToldDesk:
    desk = ToldDesk(*channels, config=CONFIG)
    await desk.store.market.save_watchlist(ACCOUNT, (BTC, ETH), desk.clock.now())
    return desk


@in_virtual_time
async def test_a_channel_that_fails_for_good_ends_the_stream_within_a_minute_or_two() -> None:
    """With the limits that are really in force: a limit that pauses keep from being reached tells nobody anything."""
    for takes in (0.0, 1.0):
        desk = await a_desk("tickers")

        async def broken(_: object, *, seconds: float, pause: float = takes) -> None:
            del seconds
            await asyncio.sleep(pause)
            raise Rejected("no such market")

        desk.streams.tickers = broken  # pyright: ignore[reportAttributeAccessIssue]
        began = desk.clock.monotonic()
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(120):
                await MarketStreamer(desk.parts).run()
        errors = list(flatten(raised.value))
        assert any(isinstance(error, GaveUp) for error in errors), errors
        assert 15 < desk.clock.monotonic() - began < 90
        assert not await desk.is_fresh("tickers")


@in_virtual_time
async def test_now_and_then_a_failure_ends_nothing() -> None:
    """A store that is busy for a moment every ten seconds is no reason to fail a flow."""
    desk = await a_desk("tickers")
    async with desk.streaming(MarketStreamer):
        for _ in range(60):
            desk.streams.tell("tickers", ValueError("bad luck"))
            await desk.clock.sleep(10)
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=5)


@in_virtual_time
async def test_a_busy_channel_whose_subscription_is_refused_is_not_fresh_in_between() -> None:
    """The prices of other markets keep coming, so every other read is a good one: none of them makes it whole."""
    desk = await a_desk("tickers")
    async with desk.streaming(MarketStreamer) as streamer:
        await desk.until(lambda: desk.is_fresh("tickers"))
        ticker = desk.venue.tickers(desk.clock.now())[BTC]
        for number in range(40):
            if desk.streams.is_told("tickers"):
                desk.streams.tell("tickers", {BTC: ticker})
                desk.streams.tell("tickers", Rejected("NEW/USD is no market"))
            await desk.clock.sleep(0.3)
            if number > 4:
                assert streamer.troubles["tickers"] == "NEW/USD is no market"
                assert not await desk.is_fresh("tickers")
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=10)


@in_virtual_time
async def test_what_a_stream_leaves_out_is_what_its_updater_fetches() -> None:
    """A market that was listed after the stream began has no price from anybody else."""
    desk = await a_desk("tickers")
    symbols, state = (BTC, ETH, SOL), desk.store.desk
    await desk.store.market.save_watchlist(ACCOUNT, symbols, desk.clock.now())
    assert await not_streamed(state, ACCOUNT, "tickers", symbols, desk.clock.now()) == symbols
    desk.streams.missing = frozenset({SOL})
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        assert await not_streamed(state, ACCOUNT, "tickers", symbols, desk.clock.now()) == [SOL]
        desk.streams.missing = frozenset(symbols)
        await desk.clock.sleep(2)
        assert not await desk.is_fresh("tickers")
        found = await load_channels(state, ACCOUNT, desk.clock.now())
        assert found["tickers"].reason == "none of the watched markets is streamed"


@in_virtual_time
async def test_prices_that_are_missed_again_and_again_are_not_asked_for_four_times_a_second() -> None:
    """One market whose messages are never readable makes a gap of each; the others go on, and REST has its peace."""
    desk = await a_desk("tickers")
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        desk.exchange.requests.clear()
        for _ in range(600):
            desk.streams.breaks += 1
            await desk.clock.sleep(0.1)
        assert 10 <= desk.exchange.requests["tickers"] <= 32
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=5)
        await desk.clock.sleep(60)
        desk.streams.breaks += 1
        await desk.clock.sleep(1.5)
        assert await desk.is_fresh("tickers"), "after a quiet minute the first gap is closed at once"


@in_virtual_time
async def test_messages_that_came_to_nothing_are_there_for_the_status() -> None:
    """A count that only a process knows that nobody asks is none."""
    desk = await a_desk("tickers")
    async with desk.streaming(MarketStreamer):
        desk.streams.unknown = {f"kind{number:02}": number for number in range(30)}
        desk.streams.unreadable = 3
        await desk.clock.sleep(12)
    [(name, told)] = (await load_messages(desk.store.desk, ACCOUNT)).items()
    assert name == "stream-market"
    assert told.unreadable == 3
    assert sum(told.unknown.values()) == sum(range(30))
    assert (len(told.unknown), told.unknown["kind29"], told.unknown["(others)"]) == (21, 29, sum(range(10)))


@in_virtual_time
async def test_a_stream_of_prices_that_speaks_lives_for_ever_and_a_mute_one_does_not() -> None:
    """A deadline around the message loop would kill the first one 120 times an hour, and never notice the second."""
    desk = await a_desk("tickers")
    ticker = desk.venue.tickers(desk.clock.now())[BTC]
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"))
        for _ in range(180):
            desk.streams.tell("tickers", {BTC: ticker})
            await desk.clock.sleep(20)
            assert await desk.is_fresh("tickers")
        assert 0.0 not in desk.streams.dropped
        await desk.clock.sleep(8)
        states = []
        for _ in range(16):
            await desk.clock.sleep(0.25)
            states.append(await desk.is_fresh("tickers"))
        assert False in states
        # Every connection is broken, however alive it looks: only a new one helps.
        assert 0.0 in desk.streams.dropped
