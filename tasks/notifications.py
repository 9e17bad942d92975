"""Alerts from flows: one background sender for each event loop, with the channels of the blocks named `default`."""

import asyncio
import logging
import os
from collections.abc import Sequence

from prefect import get_client, task
from prefect.cache_policies import NO_CACHE

from blocks.loading import find_block
from blocks.notifiers import CHANNELS
from kontor.config.alerts import AlertSettings
from kontor.errors import ConfigError
from kontor.notify import BackgroundSender, Outlet, redact
from kontor.ports import Alert
from tasks import KEEP_OPEN
from tasks.contexts import outside_of_any_run
from tasks.prefect_events import RULES, PrefectEvents

logger = logging.getLogger(__name__)

# How long a run whose process ends with it waits for its alerts.
SETTLE_SECONDS = 5.0
LOAD_SECONDS = 5.0

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
        _senders[loop] = BackgroundSender(load_outlets, context=outside_of_any_run())
    return _senders[loop]


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
