"""The interval of every updater, as its Prefect deployment has it: a frequency is in prefect.yaml and nowhere else."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule

from kontor.updaters.naming import account_of, updater_of

PAGE = 200
# A long-running flow has no schedule; it reports a heartbeat at least this often while it works.
LONG_RUNNING = "long-running"
OPTIONAL = "optional"
BEAT_WITHIN = timedelta(seconds=20)


async def updater_intervals(account: str) -> Mapping[str, timedelta]:
    """Interval by updater, for every scheduled deployment of the account."""
    return (await intervals_by_account()).get(account, {})


async def intervals_by_account() -> Mapping[str, Mapping[str, timedelta]]:
    """Of each account that is deployed, the interval of every updater; the shortest active one counts.

    A deployment with the tag `long-running` is judged by the heartbeats of its one run. An optional one, with the tag
    `optional`, is not missed.
    """
    found: dict[str, dict[str, timedelta]] = {}
    async with get_client() as client:
        flows: dict[UUID, str] = {}
        for deployment in await _deployments(client):
            spans = [
                schedule.schedule.interval
                for schedule in deployment.schedules
                if schedule.active and isinstance(schedule.schedule, IntervalSchedule)
            ]
            if LONG_RUNNING in deployment.tags and OPTIONAL not in deployment.tags:
                spans.append(BEAT_WITHIN)
            if not spans or deployment.paused:
                continue
            if deployment.flow_id not in flows:
                flows[deployment.flow_id] = (await client.read_flow(deployment.flow_id)).name
            flow, parameters = flows[deployment.flow_id], deployment.parameters or {}
            intervals = found.setdefault(account_of(flow, deployment.name, parameters), {})
            name = updater_of(flow, deployment.name, parameters)
            intervals[name] = min([*spans, intervals.get(name, spans[0])])
    return found


async def _deployments(client: PrefectClient) -> list[DeploymentResponse]:
    found: list[DeploymentResponse] = []
    while True:
        page = await client.read_deployments(limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found
