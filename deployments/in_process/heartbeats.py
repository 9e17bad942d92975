"""Prefect's flow-run heartbeats for every long run of the worker, from one task."""

from __future__ import annotations

import asyncio

from prefect import __version__
from prefect.events import emit_event
from prefect.settings import get_current_settings

from deployments.in_process.runs import ActiveRun, Phase, RunRegistry

#: Prefect accepts none more often.
SHORTEST = 30


def heartbeat(run: ActiveRun) -> None:
    """Say that the run is alive, as its engine would in a process of its own."""
    related = [
        {"prefect.resource.id": f"prefect.flow.{run.flow_run.flow_id}", "prefect.resource.role": "flow"},
        {
            "prefect.resource.id": f"prefect.deployment.{run.deployed.deployment.id}",
            "prefect.resource.role": "deployment",
        },
    ]
    related += [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in run.flow_run.tags
    ]
    emit_event(
        event="prefect.flow-run.heartbeat",
        resource={
            "prefect.resource.id": f"prefect.flow-run.{run.id}",
            "prefect.resource.name": run.flow_run.name,
            "prefect.version": __version__,
        },
        related=related,
    )


async def keep_beating(registry: RunRegistry) -> None:
    """Beat for every run that is older than the interval; shorter ones end before anybody could miss them."""
    frequency = get_current_settings().flows.heartbeat_frequency
    if frequency is None:
        return
    interval = max(frequency, SHORTEST)
    while True:
        await asyncio.sleep(interval)
        for run in registry.in_phase(Phase.RUNNING):
            if run.running_for() > interval:
                heartbeat(run)
