"""Bringing up several accounts: the trouble of one is its own, and passes without a person where it can."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.crew import StartFailed
from deployments.initialization import INITIALIZATION, LIMIT, OTHERS_LIMIT, Initialization
from deployments.prefect_api import Deployment, PrefectApi, Run, ServerUnreachable
from kontor.desk import close_gate, open_gate
from kontor.execution.halt import halt, resume
from kontor.store.memory import MemoryStore
from tests.fakes.virtual_time import in_virtual_time

BOOT = datetime(2026, 1, 1, tzinfo=UTC)
PAPER, LIVE = Deployment("d1", "initialize", "paper", None), Deployment("d2", "initialize", "live", None)
HOURLY = Deployment("d3", "update-ranges", "live", timedelta(hours=1))
EXCEPTION = "Flow run encountered an exception: "
MAINTENANCE = f"{EXCEPTION}OnMaintenance: the venue is closed"
NO_CONSENT = f"{EXCEPTION}ConfigError: account live: it trades real money; run 'kontor live live'"
# State type, state name, message; the gate opens with COMPLETED/Completed alone.
Ending = tuple[str, str, str]
DONE: Ending = ("COMPLETED", "Completed", "")
FAILED: Ending = ("FAILED", "Failed", MAINTENANCE)


class FakeDesk(PrefectApi):
    """Prefect's API and the worker behind it: each run of initialize ends after `seconds` as it was told to."""

    def __init__(self, endings: Mapping[str, Sequence[Ending]], *, seconds: float = 5.0) -> None:
        super().__init__("http://127.0.0.1:1")
        self.store = MemoryStore()
        self.endings = {account: list(each) for account, each in endings.items()}
        self.seconds = seconds
        self.keys: list[str] = []
        self.seldom: list[str] = []
        self.is_down = False
        self.started_runs: dict[str, tuple[str, float, Ending]] = {}

    async def deployments(self, account: str | None = None) -> Sequence[Deployment]:
        del account
        return [*(each for each in (PAPER, LIVE) if each.name in self.endings), HOURLY]

    async def start_run(
        self,
        deployment: Deployment,
        *,
        key: str,
        at: datetime | None = None,
        tags: Collection[str] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Run:
        del at, tags, parameters
        if deployment.flow != "initialize":
            self.seldom.append(deployment.full_name)
            return Run("s", "seldom", "SCHEDULED", "Scheduled", "", BOOT, None)
        assert key not in self.keys
        self.keys.append(key)
        plan = self.endings[deployment.name]
        ending = plan.pop(0) if len(plan) > 1 else plan[0]
        self.started_runs[key] = deployment.name, asyncio.get_running_loop().time() + self.seconds, ending
        return Run(key, "a-run", "SCHEDULED", "Scheduled", "", BOOT, None)

    async def run(self, run_id: str) -> Run:
        if self.is_down:
            raise ServerUnreachable("Prefect's server does not answer")
        account, over_at, (state, name, message) = self.started_runs[run_id]
        if asyncio.get_running_loop().time() < over_at:
            return Run(run_id, "a-run", "RUNNING", "Running", "", BOOT, None)
        if (state, name) == ("COMPLETED", "Completed"):
            await open_gate(self.store.desk, account, BOOT)
        return Run(run_id, "a-run", state, name, message, BOOT, BOOT)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[PrefectApi, MemoryStore]]:
        yield self, self.store

    async def problem(self, account: str) -> Mapping[str, Any]:
        found = await self.store.desk.attribute(account, INITIALIZATION)
        return found.value if found else {}

    def started(self, deployment: Deployment) -> int:
        return sum(f"-{deployment.id}-" in key for key in self.keys)


def initialization(said: list[str]) -> Initialization:
    found = Initialization(BOOT, said.append, monotonic=asyncio.get_running_loop().time)
    found.all_deployed.set()
    return found


async def until(holds: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1)


@in_virtual_time
async def test_an_exchange_in_maintenance_keeps_its_own_account_down_and_no_other() -> None:
    """A machine that reboots at night, while one of two venues is closed."""
    desk, said = FakeDesk({"paper": [DONE], "live": [FAILED]}), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    assert found.accounts == {"paper"}
    assert said == [
        "paper is initialized, its gate is open",
        (
            "live is NOT initialized, its gate stays closed: OnMaintenance: the venue is closed; tried again in 15 s;"
            " at once: prefect deployment run initialize/live"
        ),
    ]
    noted = await desk.problem("live")
    assert (noted["problem"], noted["attempts"]) == ("OnMaintenance: the venue is closed", 1)
    assert noted["retry_at"] is not None
    assert await desk.problem("paper") == {}


@in_virtual_time
async def test_when_the_maintenance_is_over_the_account_is_initialized_and_its_seldom_updaters_run() -> None:
    """Without a person, with ever longer pauses, and with what the start of the desk gave the other account."""
    desk, said = FakeDesk({"paper": [DONE], "live": [FAILED] * 5 + [DONE]}), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    tries: list[float] = []
    async with found.keeping(desk.opened):
        count = desk.started(LIVE)
        while found.accounts != {"paper", "live"}:
            await asyncio.sleep(1)
            if desk.started(LIVE) > count:
                count = desk.started(LIVE)
                tries.append(asyncio.get_running_loop().time())
        await until(lambda: desk.seldom == ["update-ranges/live"], 60)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert len(tries) == 5
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]
    assert said[2:] == ["live is initialized, its gate is open"]
    assert await desk.problem("live") == {}


@in_virtual_time
async def test_a_long_outage_is_said_once_and_asked_about_every_ten_minutes() -> None:
    """A whole night of maintenance is no page of lines, and no hot loop at the venue either."""
    desk, said = FakeDesk({"paper": [DONE], "live": [FAILED]}), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    async with found.keeping(desk.opened):
        await asyncio.sleep(8 * 3600)
    assert len(said) == 2
    assert 45 <= desk.started(LIVE) <= 60


@in_virtual_time
async def test_what_only_a_person_can_mend_is_not_tried_again_until_they_have_run_it() -> None:
    """Deployments were copied for a live account, and nobody has accepted it yet: the paper desk works all the same."""
    desk, said = FakeDesk({"paper": [DONE], "live": [("FAILED", "Failed", NO_CONSENT)]}), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    assert said[1].endswith("run 'kontor live live'; mend that, then run: prefect deployment run initialize/live")
    async with found.keeping(desk.opened):
        await asyncio.sleep(3600)
        assert desk.started(LIVE) == 1
        assert (await desk.problem("live"))["retry_at"] is None
        # The operator has run initialize by hand.
        await open_gate(desk.store.desk, "live", BOOT)
        await until(lambda: found.accounts == {"paper", "live"}, 60)
        await until(lambda: bool(desk.seldom), 60)
    assert said[-1] == "live is initialized, its gate is open"


@in_virtual_time
async def test_a_run_that_a_person_canceled_is_not_started_against_them() -> None:
    """The drain of a worker ends runs as Crashed: Cancelled is somebody's word."""
    desk, said = FakeDesk({"live": [("CANCELLED", "Cancelled", "")]}), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    async with found.keeping(desk.opened):
        await asyncio.sleep(3600)
    assert desk.started(LIVE) == 1
    assert "its run ended as Cancelled" in said[0]


@in_virtual_time
async def test_an_account_that_was_shut_down_meanwhile_is_not_taken_up_against_its_operator() -> None:
    """Its exchange comes back after somebody has said that it shall rest; a shutdown from before the boot is over."""
    desk, said = FakeDesk({"live": [FAILED] * 3 + [DONE]}), list[str]()
    await halt(desk.store.desk, "live", "shut down", actor="shutdown", at=BOOT - timedelta(hours=1))
    found = initialization(said)
    await found.run(desk, desk.store)
    async with found.keeping(desk.opened):
        await until(lambda: desk.started(LIVE) == 2, 120)
        await resume(desk.store.desk, "live", actor="test", at=BOOT)
        await halt(desk.store.desk, "live", "shut down", actor="shutdown", at=BOOT + timedelta(minutes=1))
        await asyncio.sleep(3600)
        assert desk.started(LIVE) == 2
        assert found.accounts == frozenset()
    assert "shut down meanwhile" in said[-1]
    assert said[-1].endswith("then run: prefect deployment run initialize/live")


@in_virtual_time
async def test_a_desk_without_any_initialized_account_comes_up_and_keeps_trying() -> None:
    """The exchange was away while the machine came back: by morning the desk trades, and nobody was called."""
    desk, said = FakeDesk({"live": [FAILED] * 3 + [DONE]}), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    assert found.accounts == frozenset()
    async with found.keeping(desk.opened):
        await until(lambda: found.accounts == {"live"}, 600)


@in_virtual_time
async def test_a_run_that_was_skipped_has_opened_no_gate() -> None:
    """Its predecessor was killed with the last desk and holds its place for minutes: that is not an initialization."""
    skipped = ("COMPLETED", "Skipped", "the previous run of initialize is still at work")
    desk, said = FakeDesk({"paper": [*[skipped] * 10, DONE]}), list[str]()
    await close_gate(desk.store.desk, "paper", BOOT)
    found = initialization(said)
    await found.run(desk, desk.store)
    assert found.accounts == frozenset()
    async with found.keeping(desk.opened):
        await until(lambda: found.accounts == {"paper"}, 300)
    assert "still at work" in said[0]


@in_virtual_time
async def test_nobody_waits_long_for_an_account_that_takes_its_time() -> None:
    """Its exchange answers slowly: half a minute after the first one the desk is up, and the slow one follows."""
    desk, said = FakeDesk({"paper": [DONE], "live": [DONE]}), list[str]()
    loop = asyncio.get_running_loop()
    found = initialization(said)
    began = loop.time()

    async def start_run(deployment: Deployment, **how: Any) -> Run:
        desk.seconds = 5 if deployment is PAPER else 120
        return await FakeDesk.start_run(desk, deployment, **how)

    desk.start_run = start_run
    await found.run(desk, desk.store)
    assert loop.time() - began < OTHERS_LIMIT.total_seconds() + 10
    assert found.accounts == {"paper"}
    assert "its run is still Running" in said[1]
    async with found.keeping(desk.opened):
        await until(lambda: found.accounts == {"paper", "live"}, 300)
    assert desk.started(LIVE) == 1


@in_virtual_time
async def test_a_run_that_never_ends_delays_the_start_up_to_its_limit() -> None:
    """And the server that cannot be asked afterwards is said once, and asked again."""
    desk, said = FakeDesk({"paper": [DONE]}, seconds=LIMIT.total_seconds() * 2), list[str]()
    found = initialization(said)
    await found.run(desk, desk.store)
    assert asyncio.get_running_loop().time() >= LIMIT.total_seconds()
    async with found.keeping(desk.opened):
        desk.is_down = True
        await asyncio.sleep(60)
        desk.is_down = False
        await until(lambda: found.accounts == {"paper"}, 600)
    assert [each for each in said if each.startswith("cannot look after")] == [
        "cannot look after the initialization of paper now: Prefect's server does not answer"
    ]


@in_virtual_time
async def test_a_project_that_deploys_no_initialize_does_not_start() -> None:
    """Nothing would ever open a gate: that is a mistake in prefect.yaml, and no outage."""
    desk = FakeDesk({})
    with pytest.raises(StartFailed, match="deploys no flow 'initialize'"):
        await initialization([]).run(desk, desk.store)
