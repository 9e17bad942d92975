"""The watch over a desk: tells what happens, says once a minute that all is well, keeps the automations in place."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import anyio
from prefect import get_client

from blocks.loading import find_block
from blocks.notifiers import HeartbeatUrl
from kontor.config.alerts import AlertSettings
from kontor.desk import is_gate_open
from kontor.domain.health import judge
from kontor.errors import KontorError, LeaseLost
from kontor.execution import clock_drift
from kontor.execution.halt import halted
from kontor.notify.heartbeat import Heartbeat
from kontor.notify.redaction import redact
from kontor.notify.teller import HaltNews, Teller
from kontor.ports import Clock, Lease, Store
from tasks.automations import ensure_automations
from tasks.intervals import intervals_by_account
from tasks.notifications import SETTLE_SECONDS, process_sender, settle_alerts
from tasks.resources import Resources

logger = logging.getLogger(__name__)

NAME = "watch-desk"
STEP_SECONDS = 1.0
# A watch that was killed is followed by the next one after this time.
LEASE = timedelta(seconds=30)
BEAT_SECONDS = 10.0
AUTOMATIONS_SECONDS = 60.0
BESIDE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 30.0
POOL = "desk"


@asynccontextmanager
async def open_watch(account: str) -> AsyncIterator["Watch"]:
    """The watch of an account. It needs the store, not the exchange: a venue that is away is no reason not to tell."""
    resources = Resources.here()
    resources.enter()
    try:
        settings = await resources.settings(account)
        yield Watch(account, await resources.store(), resources, settings.mode)
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_SECONDS):
            await settle_alerts()
        with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_SECONDS):
            await resources.leave()


@dataclass
class Watch:
    """One account's watch; `keep` works until it is canceled."""

    account: str
    store: Store
    resources: Resources
    mode: str = "paper"
    owner: str = field(default_factory=lambda: f"{NAME} {uuid4().hex[:8]}")
    _heartbeat: Heartbeat = field(default_factory=Heartbeat, init=False)
    _due: dict[str, float] = field(default_factory=dict, init=False)

    @property
    def clock(self) -> Clock:
        """Time."""
        return self.resources.clock

    @property
    def settings(self) -> AlertSettings:
        """The section `alerts` of kontor.yaml, as it is now."""
        return self.resources.config().alerts

    async def keep(self) -> None:
        """Watch for as long as the lease is ours; a second watch of the account waits for its turn."""
        while True:
            lease = await self._acquire()
            try:
                await self._keep(lease)
            except LeaseLost as lost:
                logger.warning("watch lost its lease account=%s: %s", self.account, lost)
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_SECONDS):
                    await self.store.desk.release_lease(lease)

    async def _acquire(self) -> Lease:
        name = f"watch:{self.account}"
        while (lease := await self.store.desk.acquire_lease(name, self.owner, LEASE, self.clock.now())) is None:
            await self.clock.sleep(STEP_SECONDS)
        return lease

    async def _keep(self, lease: Lease) -> None:
        sender = process_sender()
        sender.keep_looking()
        teller = Teller(self.account, self.store, self.clock, sender, self._halts, self.mode)
        pause = STEP_SECONDS
        while True:
            try:
                if self._is_due("lease", BEAT_SECONDS):
                    lease = await self.store.desk.renew_lease(lease, LEASE, self.clock.now())
                    await self.store.desk.beat(self.account, NAME, self.clock.now())
                while await teller.step(self.settings):
                    lease = await self.store.desk.renew_lease(lease, LEASE, self.clock.now())
                await self._beside()
                pause = STEP_SECONDS
            except LeaseLost:
                raise
            except KontorError as error:
                # The store or kontor.yaml: what is not told now is told when it works again.
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                logger.warning("watch waits %.0f s account=%s: %s", pause, self.account, redact(str(error)))
            await self.clock.sleep(pause)

    async def _beside(self) -> None:
        """What is done seldom, each with an error of its own: none of it keeps news from being told."""
        if self._is_due("automations", AUTOMATIONS_SECONDS):
            await self._contained("automations", self._automations())
        if self._heartbeat.is_due(self.clock.monotonic()):
            await self._contained("heartbeat", self._say_well())

    async def _contained(self, what: str, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(BESIDE_SECONDS):
                await work
        except KontorError as error:
            logger.warning("%s not looked after account=%s: %s", what, self.account, redact(str(error)))
        except Exception as error:  # noqa: BLE001 - Prefect's API may be away, and raises what it likes
            name = type(error).__name__
            logger.warning("%s not looked after account=%s: %s: %s", what, self.account, name, redact(str(error)))

    async def _automations(self) -> None:
        lease = await self.store.desk.acquire_lease("automations", self.owner, LEASE, self.clock.now())
        if lease is None:
            return
        try:
            async with get_client() as client:
                for sentence in await ensure_automations(client, self.settings, POOL):
                    logger.info(sentence)
        finally:
            await self.store.desk.release_lease(lease)

    async def _say_well(self) -> None:
        block = await find_block(HeartbeatUrl, "default")
        # Looked at once a minute even without an address: a block that is made later takes effect.
        now = self.clock.monotonic()
        if block is None:
            self._heartbeat.skip(now)
        elif problem := await self.problem_of_desk():
            self._heartbeat.skip(now)
            logger.warning("no heartbeat account=%s: %s", self.account, problem)
        else:
            await self._heartbeat.beat(block.url.get_secret_value(), now)

    async def problem(self) -> str:
        """Why not all is well with this account, in a sentence; empty when it is."""
        return await self._problem_of(self.account, (await intervals_by_account()).get(self.account, {}))

    async def problem_of_desk(self) -> str:
        """Likewise with any account that is deployed: they share one heartbeat, and a healthy one proves nothing."""
        deployed = await intervals_by_account()
        for account in sorted({self.account, *deployed}):
            if problem := await self._problem_of(account, deployed.get(account, {})):
                return f"{account}: {problem}"
        return ""

    async def _problem_of(self, account: str, intervals: Mapping[str, timedelta]) -> str:
        state = self.store.desk
        if not await is_gate_open(state, account):
            return "the account is not initialized"
        verdicts = judge(intervals, await state.heartbeats(account), self.clock.now())
        down = [f"{verdict.updater} ({verdict.reason})" for verdict in verdicts if not verdict.ok]
        return f"down: {', '.join(down)}" if down else ""

    async def _halts(self) -> HaltNews | None:
        found = await halted(self.store.desk, self.account)
        if found is None:
            return None
        # The moment first: what follows the first space is the reason, for the message at its end.
        key = f"{found.at.isoformat()} {found.reason}"
        return HaltNews(key, found.reason, found.actor, found.title, flaps=found.actor == clock_drift.ACTOR)

    def _is_due(self, name: str, seconds: float) -> bool:
        now = self.clock.monotonic()
        if now < self._due.get(name, 0.0):
            return False
        self._due[name] = now + seconds
        return True
