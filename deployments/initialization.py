"""Each account's way to an open gate: `initialize` runs until it has worked, and one account's trouble is its own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.crew import Say, StartFailed
from deployments.first_runs import start_seldom_ones
from deployments.prefect_api import Deployment, PrefectApi, Run
from kontor.desk import is_gate_open
from kontor.errors import ConfigError, KontorError
from kontor.execution.halt import halted
from kontor.execution.quiesce import ACTOR as SHUTDOWN
from kontor.ports import Store

FLOW = "initialize"
# Why an account is not initialized, for those who look at it: {"problem", "remedy", "retry_at", "attempts"}.
INITIALIZATION = "initialization"
# How long the start of the desk waits for the slowest account, and for the others once one is initialized.
LIMIT = timedelta(seconds=240)
OTHERS_LIMIT = timedelta(seconds=30)
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0
POLL_SECONDS, CHECK_SECONDS = 0.5, 5.0
# What only a person can mend: a file, a block, or a word that has not been given.
OPERATORS = re.compile(rf"\b{ConfigError.__name__}\b")
Opened = Callable[[], AbstractAsyncContextManager[tuple[PrefectApi, Store]]]


@dataclass
class Opening:
    """One account between its closed gate and its open one."""

    deployment: Deployment
    run: Run | None = None
    attempts: int = 0
    # On the monotonic clock.
    due_at: float = 0.0
    problem: str = ""
    is_open: bool = False
    needs_operator: bool = False

    @property
    def account(self) -> str:
        """The account whose gate it is."""
        return self.deployment.account

    @property
    def pause(self) -> float:
        """Seconds until the next try, growing with each."""
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.attempts - 1, 20))

    @property
    def remedy(self) -> str:
        """What a person can do: where only a person can, what to run then."""
        again = f"prefect deployment run {self.deployment.full_name}"
        return f"mend that, then run: {again}" if self.needs_operator else f"at once: {again}"


@dataclass
class Initialization:
    """Runs initialize once for each account as soon as its deployment is there, and again while it fails."""

    boot_at: datetime
    say: Say
    all_deployed: asyncio.Event = field(default_factory=asyncio.Event)
    monotonic: Callable[[], float] = time.monotonic
    openings: dict[str, Opening] = field(default_factory=dict, init=False)

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts that are initialized."""
        return frozenset(each.account for each in self.openings.values() if each.is_open)

    async def run(self, api: PrefectApi, store: Store) -> None:
        """Ends when everything is deployed, and each account is initialized or has a reason why not yet.

        Nobody waits long for an account that takes its time. Raises StartFailed only where nothing opens any gate.
        """
        began = first = self.monotonic()
        while True:
            # Looked at first: what was deployed before this is in the list that follows.
            complete = self.all_deployed.is_set()
            await self._find(api)
            await self.step(api, store)
            now = self.monotonic()
            first = first if self.accounts else now
            waiting = [each for each in self.openings.values() if not (each.is_open or each.problem)]
            in_time = now - began < LIMIT.total_seconds() and now - first < OTHERS_LIMIT.total_seconds()
            if complete and not (waiting and in_time):
                break
            await asyncio.sleep(POLL_SECONDS)
        if not self.openings:
            raise StartFailed(f"prefect.yaml deploys no flow '{FLOW}': nothing can open the gate")
        for each in waiting:
            state = each.run.state_name if each.run else "not started"
            await self._note(store, each, f"its run is still {state} after {now - began:.0f} s", None)

    async def step(self, api: PrefectApi, store: Store) -> None:
        """Look once at each account that is not initialized, and start what is due."""
        for each in self.openings.values():
            if not each.is_open:
                await self._look(api, store, each)

    async def _look(self, api: PrefectApi, store: Store, opening: Opening) -> None:
        if opening.run is not None:
            opening.run = await api.run(opening.run.id)
        # The gate itself decides: a run of before, or one that a person started, may have opened it.
        if await is_gate_open(store.desk, opening.account):
            await self._opened(store, opening)
        elif opening.run is not None and opening.run.is_over:
            await self._failed(store, opening, opening.run)
        elif opening.run is None and not opening.needs_operator and self.monotonic() >= opening.due_at:
            if opening.attempts and await self._is_shut_down(store, opening.account):
                opening.needs_operator = True
                await self._note(store, opening, "it was shut down meanwhile (the flow shutdown)", None)
                return
            key = f"{FLOW}-{opening.deployment.id}-{self.boot_at.isoformat()}-{opening.attempts}"
            opening.run = await api.start_run(opening.deployment, key=key)
            opening.attempts += 1

    async def _is_shut_down(self, store: Store, account: str) -> bool:
        """Whether somebody has shut the account down since the desk came up: it is not taken up against them."""
        found = await halted(store.desk, account)
        return found is not None and found.actor == SHUTDOWN and found.at > self.boot_at

    @asynccontextmanager
    async def keeping(self, opened: Opened) -> AsyncIterator[None]:
        """While inside, accounts that are not initialized are tried again, and given their first runs after that."""
        task = asyncio.create_task(self._keep(opened), name="keep initializing")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, opened: Opened) -> None:
        is_silent = False
        while left := [each for each in self.openings.values() if not each.is_open]:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                async with opened() as (api, store):
                    while any(not each.is_open for each in left):
                        await self.step(api, store)
                        await self._first_runs(api, [each for each in left if each.is_open])
                        left = [each for each in left if not each.is_open]
                        is_silent = False
                        await asyncio.sleep(CHECK_SECONDS)
            except KontorError as error:
                if not is_silent:
                    names = ", ".join(each.account for each in left)
                    self.say(f"cannot look after the initialization of {names} now: {error}")
                is_silent = True

    async def _first_runs(self, api: PrefectApi, done: list[Opening]) -> None:
        """What the start of the desk gave the others: one run of each updater that is not due soon."""
        accounts = {each.account for each in done}
        if accounts:
            every = [each for each in await api.deployments() if each.account in accounts]
            await start_seldom_ones(api, every, self.boot_at)

    async def _find(self, api: PrefectApi) -> None:
        for deployment in await api.deployments():
            if deployment.flow == FLOW:
                self.openings.setdefault(deployment.full_name, Opening(deployment))

    async def _opened(self, store: Store, opening: Opening) -> None:
        opening.is_open, opening.problem = True, ""
        self.say(f"{opening.account} is initialized, its gate is open")
        await self._write(store, opening, None)

    async def _failed(self, store: Store, opening: Opening, run: Run) -> None:
        opening.run = None
        # One that a person has canceled is not started against them.
        opening.needs_operator = run.state == "CANCELLED" or OPERATORS.search(run.reason) is not None
        # One that only waited for its predecessor's place has asked nobody for anything, and nothing has failed.
        pause = FIRST_PAUSE if run.state == "COMPLETED" else opening.pause
        opening.due_at = self.monotonic() + pause
        again = None if opening.needs_operator else pause
        await self._note(store, opening, run.reason or f"its run ended as {run.state_name}", again)

    async def _note(self, store: Store, opening: Opening, problem: str, again: float | None) -> None:
        """Say why the gate is closed and what follows, once for each reason, and keep it for `kontor status`."""
        is_new = problem != opening.problem
        opening.problem = problem
        if is_new:
            follows = f"; tried again in {again:.0f} s" if again is not None else ""
            self.say(
                f"{opening.account} is NOT initialized, its gate stays closed: {problem}{follows}; {opening.remedy}"
            )
        await self._write(store, opening, again)

    async def _write(self, store: Store, opening: Opening, again: float | None) -> None:
        now = datetime.now(UTC)
        value: dict[str, Any] = {}
        if opening.problem:
            retry_at = None if again is None else (now + timedelta(seconds=again)).isoformat()
            value = {"problem": opening.problem, "remedy": opening.remedy, "retry_at": retry_at}
            value["attempts"] = opening.attempts
        # It is news for people: a store that is busy keeps no account from being initialized.
        with suppress(KontorError):
            await store.desk.set_attribute(opening.account, INITIALIZATION, value, now)
