"""Alerts from flows: one background sender for each event loop, with the channels of the blocks named `default`."""

import asyncio
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE

from blocks.loading import find_block
from blocks.notifiers import CHANNELS
from kontor.config.alerts import AlertSettings
from kontor.errors import ConfigError
from kontor.notify import BackgroundSender, Outlet, StoredPacing, redact
from kontor.ports import Alert, DeskState
from tasks import KEEP_OPEN
from tasks.contexts import outside_of_any_run
from tasks.prefect_events import RULES, PrefectEvents

logger = logging.getLogger(__name__)

# How long a run whose process ends with it waits for its alerts.
SETTLE_SECONDS = 5.0
LOAD_SECONDS = 5.0
# An account's mode is asked for again after this time, and no alert waits longer than that for the answer.
MODE_SECONDS, ANSWER_SECONDS = 60.0, 2.0
MODE, LIVE = "Mode", "live"

_senders: dict[asyncio.AbstractEventLoop, BackgroundSender] = {}


@task(cache_policy=NO_CACHE)
async def notify(alert: Alert) -> None:
    """Hand an alert to this process's sender; the flow goes on at once, whatever the channels do."""
    process_sender().notify(alert)


def process_sender() -> BackgroundSender:
    """The running loop's sender; the same one for every run in it."""
    loop = asyncio.get_running_loop()
    if loop not in _senders:
        for ended in [known for known in _senders if known.is_closed()]:
            del _senders[ended]
        # A process that ends with its run says what it has to say at once: it has no time to ask the store first.
        shared = StoredPacing(_desk_state) if os.environ.get(KEEP_OPEN) else None
        context = outside_of_any_run()
        _senders[loop] = BackgroundSender(load_outlets, shared=shared, stamp=Modes().stamp, context=context)
    return _senders[loop]


@dataclass
class Modes:
    """Writes on each alert of an account whether that is a live one."""

    _known: dict[str, tuple[float, str]] = field(default_factory=dict)

    async def stamp(self, alert: Alert) -> Alert:
        """The alert with its account's mode; as it is where nobody can say, and marked in its title when it is live."""
        mode = dict(alert.fields).get(MODE) or (await self._mode(alert.account) if alert.account else "")
        if not mode:
            return alert
        fields = alert.fields if MODE in dict(alert.fields) else (*alert.fields, (MODE, mode))
        mark = f"{LIVE.upper()} " if mode == LIVE and not alert.title.startswith(LIVE.upper()) else ""
        return replace(alert, title=f"{mark}{alert.title}", fields=fields)

    async def _mode(self, account: str) -> str:
        # Late: the resources' own breakers tell of themselves through this module.
        from tasks.resources import Resources

        now, (asked_at, mode) = time.monotonic(), self._known.get(account, (-math.inf, ""))
        if now - asked_at > MODE_SECONDS:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    mode = (await Resources.here().settings(account)).mode
            except Exception as error:  # noqa: BLE001 - no such account, or Prefect's API is away: the alert goes out
                logger.debug("mode not known account=%s: %s", account, redact(str(error)))
            self._known[account] = now, mode
        return mode


async def _desk_state() -> DeskState:
    from tasks.resources import Resources

    return (await Resources.here().store()).desk


async def settle_alerts() -> None:
    """Deliver the alerts of a run whose process ends with it, for a few seconds at most; in a worker, go on at once."""
    if not os.environ.get(KEEP_OPEN):
        await close_sender(seconds=SETTLE_SECONDS)


async def close_sender(*, seconds: float) -> int:
    """Deliver this loop's alerts and stop its sender, for the end of a process; returns how many alerts were left."""
    sender = _senders.get(asyncio.get_running_loop())
    return await sender.close(seconds=seconds) if sender else 0


async def load_outlets() -> Sequence[Outlet]:
    """The channels whose block named `default` exists, with their rules of kontor.yaml; and Prefect's events.

    A block with wrong values is reported and left out; with a kontor.yaml that cannot be read everybody is told
    everything.
    """
    settings = _settings()
    outlets = [Outlet(PrefectEvents(), RULES)]
    async with asyncio.timeout(LOAD_SECONDS), get_client() as client:
        for name, block_class in CHANNELS.items():
            try:
                block = await find_block(block_class, "default", client=client)
            except ConfigError as error:
                logger.warning("no alerts this way: %s", redact(str(error)))
                continue
            if block is not None:
                outlets.append(Outlet(block.to_channel(), settings.rules(name)))
    return outlets


def _settings() -> AlertSettings:
    # Late: the resources' own breakers tell of themselves through this module.
    from tasks.resources import Resources

    try:
        return Resources.here().config().alerts
    except ConfigError as error:
        logger.warning("alerts go everywhere: %s", redact(str(error)))
        return AlertSettings()
