"""Two processes of one account at one exchange: what they send together stays within the account's one limit."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from kontor.store import open_store

from .fake_venue import FakeVenue, fine
from .shared_budget import PER_SECOND

ROOT = Path(__file__).parents[3]
SECONDS, FLOOD_SECONDS = 4.0, 2.5
PAUSE = 5.0
# The second it takes to tell the other process (virtual time holds it to that), on a machine that is busy otherwise.
HEARD_AFTER = 3.0


class Counting(FakeVenue):
    """Notes when each balance was asked for, and by which process's connection; may ask one of them for patience."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []
        self.refuses = False
        self.refused_at: float | None = None
        balance = fine({"details": [{"ccy": "USD", "eq": "5", "availEq": "5"}], "uTime": "1"})

        async def answer(request: web.Request) -> web.StreamResponse:
            self.moments.append(time.monotonic())
            if self.refuses and self.refused_at is None:
                self.refused_at = time.monotonic()
                return web.json_response(
                    {"code": "50011", "msg": "Too Many Requests", "data": []},
                    status=429,
                    headers={"Retry-After": f"{PAUSE:g}"},
                )
            return await balance(request)

        self.answers["account/balance"] = answer


@pytest.fixture
async def counting() -> AsyncIterator[Counting]:
    made = Counting()
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def processes(folder: Path, venue: Counting, count: int = 2) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """So many processes of the account, all of them past their opening."""
    url = f"sqlite:///{folder / 'desk.db'}"
    store = open_store(url)
    await store.migrate()
    await store.close()
    command = [sys.executable, "-m", "tests.contract.exchange.shared_budget", url, venue.url, str(SECONDS)]
    started = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE) for _ in range(count)
    ]
    try:
        for each in started:
            assert each.stdout is not None
            assert await asyncio.wait_for(each.stdout.readline(), 60) == b"ready\n"
        yield started
        async with asyncio.timeout(60):
            assert [await each.wait() for each in started] == [0] * count
    finally:
        for each in started:
            with contextlib.suppress(ProcessLookupError):
                each.kill()
            await each.wait()


def worst(moments: list[float]) -> float:
    """By how much any stretch of time held more requests than one bucket and one rate allow."""
    return max(
        (last - first + 1) - PER_SECOND * (1 + moments[last] - moments[first])
        for first in range(len(moments))
        for last in range(first, len(moments))
    )


async def test_two_processes_spend_one_limit_and_a_429_of_one_silences_both(tmp_path: Path, counting: Counting) -> None:
    """Each with a budget of its own sent twice what is allowed, and went on where the other was told to wait."""
    async with processes(tmp_path, counting):
        began = time.monotonic()
        await asyncio.sleep(FLOOD_SECONDS)
        flooded = [moment for moment in counting.moments if moment >= began]
        counting.refuses = True
    # A stalled machine delivers late what was sent in time: a tenth of a second's worth is granted to that.
    assert worst(counting.moments) <= 0.1 * PER_SECOND + 2
    # And the limit is used: two processes are not slower than one.
    assert len(flooded) >= 0.25 * PER_SECOND * FLOOD_SECONDS
    assert counting.refused_at is not None
    silent = counting.refused_at + HEARD_AFTER, counting.refused_at + PAUSE - 0.1
    assert [moment - silent[0] for moment in counting.moments if silent[0] < moment < silent[1]] == []
