"""A stream and its key: rotated, refused, and back again without a login loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from kontor.errors import AuthenticationFailed, StreamBroken
from kontor.execution.halt import block, halt, resume
from kontor.store.memory import MemoryStore
from kontor.streams.freshness import load_channels
from kontor.streams.keeper import Stream, StreamKeeper
from tests.fakes.virtual_time import LoopClock, in_virtual_time

ACCOUNT = "live"
REFUSED = AuthenticationFailed("okx watch_orders: invalid api key", code="50111")


@dataclass
class Desk:
    """An account whose key may be bad, and how often the venue was asked for a login with which key."""

    needs_key: bool = True
    clock: LoopClock = field(default_factory=LoopClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    key: str = "first"
    good: set[str] = field(default_factory=lambda: {"first"})
    logins: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    told: int = 0
    is_block_readable: bool = True

    async def settings(self) -> str:
        if not self.is_block_readable:
            raise ConnectionError("Prefect's API is away")
        return self.key

    async def run(self, key: str) -> None:
        self.live.append(key)
        try:
            while True:
                self.logins.append(key)
                if key not in self.good:
                    # As a streamer's task group raises it.
                    raise ExceptionGroup("stream", [ExceptionGroup("inner", [REFUSED])])
                await self.clock.sleep(60)
                self.logins.pop()
        finally:
            self.live.remove(key)

    async def refused(self, error: AuthenticationFailed) -> None:
        self.told += await block(self.store.desk, ACCOUNT, str(error), actor="stream-account", at=self.clock.now())

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[asyncio.Task[None]]:
        stream = Stream(ACCOUNT, "stream-account", ("orders", "fills"), needs_key=self.needs_key)
        keeper = StreamKeeper(
            stream, self.store.desk, self.clock, settings=self.settings, run=self.run, refused=self.refused
        )
        task = asyncio.create_task(keeper.keep())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def updater_succeeds(self) -> None:
        await self.store.desk.beat(ACCOUNT, "update-balance", self.clock.now())


@in_virtual_time
async def test_a_rotated_key_takes_over_and_the_old_one_is_gone_before() -> None:
    """A long-running flow kept the old key until it was refused, hours later."""
    desk = Desk(good={"first", "second"})
    async with desk.kept():
        await desk.clock.sleep(10)
        assert desk.live == ["first"]
        desk.key = "second"
        await desk.clock.sleep(2)
        assert desk.live == ["second"]
        assert desk.logins == ["first", "second"]


@in_virtual_time
async def test_a_block_that_cannot_be_read_changes_nothing() -> None:
    """Prefect's API restarts; the stream does not."""
    desk = Desk()
    async with desk.kept() as task:
        await desk.clock.sleep(10)
        desk.is_block_readable = False
        await desk.clock.sleep(600)
        assert (desk.logins, task.done()) == (["first"], False)


@in_virtual_time
async def test_a_refused_key_is_tried_once_told_once_and_then_left_alone() -> None:
    """The flow's trigger started it again every two seconds, for a login that may lock the key."""
    desk = Desk(good=set())
    async with desk.kept() as task:
        await desk.clock.sleep(3600)
        assert desk.logins == ["first"]
        assert desk.told == 1
        assert not task.done()
        channels = await load_channels(desk.store.desk, ACCOUNT, desk.clock.now())
        assert {name: each.is_fresh for name, each in channels.items()} == {"orders": False, "fills": False}
        assert "waits for a key that works: okx watch_orders: invalid api key" in channels["orders"].reason
        beat = (await desk.store.desk.heartbeats(ACCOUNT))["stream-account"]
        assert beat.last_failure_at is not None
        assert desk.clock.now() - beat.last_failure_at < timedelta(seconds=15)
        # Named so that the status does not tell it beside the halt.
        assert (beat.last_error or "").startswith(AuthenticationFailed.__name__)


@in_virtual_time
async def test_it_comes_back_by_itself_with_another_key() -> None:
    """Nobody should have to find and start a flow at night."""
    desk = Desk(good={"second"})
    async with desk.kept():
        await desk.clock.sleep(600)
        desk.key = "second"
        await desk.clock.sleep(2)
        assert desk.live == ["second"]


@in_virtual_time
async def test_it_comes_back_by_itself_when_an_updater_got_an_answer_with_the_key() -> None:
    """The venue had a bad hour, or somebody has unlocked the key there: updaters ask all the time."""
    desk = Desk(good=set())
    await desk.updater_succeeds()
    async with desk.kept():
        await desk.clock.sleep(600)
        assert desk.logins == ["first"]
        desk.good.add("first")
        await desk.updater_succeeds()
        await desk.clock.sleep(2)
        assert desk.live == ["first"]


@in_virtual_time
async def test_it_comes_back_when_a_person_resumes_and_a_key_still_bad_blocks_and_tells_again() -> None:
    """The person believes to have mended it; the venue has the last word."""
    desk = Desk(good=set())
    async with desk.kept():
        await desk.clock.sleep(600)
        await resume(desk.store.desk, ACCOUNT, actor="me", at=desk.clock.now())
        await desk.clock.sleep(600)
        assert (desk.logins, desk.told) == (["first", "first"], 2)
        desk.good.add("first")
        await resume(desk.store.desk, ACCOUNT, actor="me", at=desk.clock.now())
        await desk.clock.sleep(600)
        assert desk.live == ["first"]


@in_virtual_time
async def test_a_stream_that_starts_while_the_account_is_blocked_does_not_log_in() -> None:
    """The desk was restarted; the key is as bad as before."""
    desk = Desk(good=set())
    await block(desk.store.desk, ACCOUNT, "invalid api key", actor="updater update-balance", at=desk.clock.now())
    async with desk.kept():
        await desk.clock.sleep(600)
        assert (desk.logins, desk.told) == ([], 0)


@in_virtual_time
async def test_what_needs_no_key_and_halts_for_other_reasons_hold_nothing_back() -> None:
    """Prices are public; and a stop by a person leaves the streams alone."""
    desk = Desk(needs_key=False)
    await block(desk.store.desk, ACCOUNT, "invalid api key", actor="updater update-balance", at=desk.clock.now())
    async with desk.kept():
        await desk.clock.sleep(5)
        assert desk.live == ["first"]
    desk = Desk()
    await halt(desk.store.desk, ACCOUNT, "holidays", actor="me", at=desk.clock.now())
    async with desk.kept():
        await desk.clock.sleep(5)
        assert desk.live == ["first"]


@in_virtual_time
async def test_anything_else_ends_the_flow_as_before() -> None:
    """A reader that failed for good is a failed run, which its trigger starts again."""
    desk = Desk()

    async def broken(_: str) -> None:
        raise ExceptionGroup("stream", [StreamBroken("gone")])

    desk.run = broken  # pyright: ignore[reportAttributeAccessIssue]
    async with desk.kept() as task:
        with pytest.raises(ExceptionGroup) as caught:
            await task
    assert [type(each) for each in caught.value.exceptions] == [StreamBroken]
