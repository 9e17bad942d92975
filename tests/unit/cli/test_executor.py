"""Who starts the executor: its trigger, normally; the watch, when the trigger cannot or stays silent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.executor import TRIGGER_PATIENCE, Watch, long_running, needs_a_run
from deployments.prefect_api import Deployment, PrefectApi, Run

BOOT = datetime(2026, 1, 1, tzinfo=UTC)
EXECUTOR = Deployment("d1", "execute-orders", "paper", None)


def ended(state: str, after_boot: float, name: str | None = None) -> Run:
    at = BOOT + timedelta(seconds=after_boot)
    return Run("r1", "a-run", state, name or state.title(), "", at - timedelta(hours=1), at)


def after(seconds: float) -> datetime:
    return BOOT + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("last", "now", "wanted"),
    [
        (None, 1, True),
        (ended("COMPLETED", -3600), 1, True),
        (ended("CANCELLED", -3600), 1, True),
        (ended("CRASHED", -3600), 1, True),
        # Its trigger is about to act: two runs would be one too many.
        (ended("CRASHED", 2), 3, False),
        (ended("FAILED", 2), 3, False),
        # It stayed silent: the event was lost with a server that went down.
        (ended("CRASHED", 2), 2 + TRIGGER_PATIENCE.total_seconds() + 1, True),
        # A person ended it; it stays ended until the desk comes up again.
        (ended("CANCELLED", 2), 3600, False),
        (ended("COMPLETED", 2), 3600, False),
        # It found the gate closed.
        (ended("COMPLETED", 2, "Waiting"), 3, True),
    ],
)
def test_a_run_is_started_when_nothing_else_will(last: Run | None, now: float, wanted: bool) -> None:
    """The table is the whole policy."""
    assert needs_a_run(last, BOOT, after(now)) is wanted


class FakeApi(PrefectApi):
    """Prefect's API with one deployment, in memory; remembers the keys of the runs that were asked for."""

    def __init__(self, live: Sequence[Run] = (), last: Run | None = None) -> None:
        super().__init__("http://127.0.0.1:1")
        self.live, self.last = list(live), last
        self.keys: set[str] = set()

    async def live_runs(self, deployment: Deployment) -> Sequence[Run]:
        return self.live if deployment is EXECUTOR else []

    async def last_ended(self, deployment: Deployment) -> Run | None:
        return self.last if deployment is EXECUTOR else None

    async def start_run(
        self,
        deployment: Deployment,
        *,
        key: str,
        at: datetime | None = None,
        tags: Collection[str] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Run:
        assert (deployment, at, tags, parameters) == (EXECUTOR, None, (), None)
        self.keys.add(key)
        return Run("r2", "new", "SCHEDULED", "Scheduled", "", BOOT, None)


async def test_a_scheduled_run_is_left_to_its_worker_and_counts_as_at_work_only_once_it_runs() -> None:
    """`kontor up` is not done while orders would only be collected."""
    api = FakeApi([Run("r1", "a-run", "SCHEDULED", "Scheduled", "", BOOT, None)])
    watch = Watch(api, [EXECUTOR], BOOT, pytest.fail, lambda: after(1))
    assert await watch.start_missing() == [EXECUTOR]
    assert not api.keys
    api.live = [Run("r1", "a-run", "RUNNING", "Running", "", BOOT, None)]
    assert await watch.start_missing() == []


async def test_looking_twice_asks_for_the_same_run_twice() -> None:
    """By its key: between asking and seeing the run there may be a second look."""
    api = FakeApi(last=ended("CRASHED", -60))
    watch = Watch(api, [EXECUTOR], BOOT, pytest.fail, lambda: after(1))
    await watch.start_missing()
    await watch.start_missing()
    assert len(api.keys) == 1


def test_the_executor_is_the_one_that_must_always_run() -> None:
    """Updaters have schedules, ad-hoc flows have people."""
    others = [
        Deployment("d2", "update-tickers", "paper", timedelta(seconds=10)),
        Deployment("d3", "place-order", "x", None),
    ]
    assert long_running([EXECUTOR, *others]) == [EXECUTOR]
