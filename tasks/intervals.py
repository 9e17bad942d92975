"""The interval of every updater, as its Prefect deployment has it: a frequency is in prefect.yaml and nowhere else."""

from collections.abc import Mapping
from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.schedules import IntervalSchedule

# A long-running flow has no schedule; it reports a heartbeat at least this often while it works.
LONG_RUNNING = "long-running"
OPTIONAL = "optional"
BEAT_WITHIN = timedelta(seconds=20)


async def updater_intervals(account: str) -> Mapping[str, timedelta]:
    """Interval by flow name, for every scheduled deployment named like the account; the shortest active one counts.

    A deployment with the tag `long-running` is judged by the heartbeats of its one run. An optional one, with the tag
    `optional`, is not missed.
    """
    async with get_client() as client:
        deployments = await client.read_deployments(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[account]))
        )
        intervals: dict[str, timedelta] = {}
        for deployment in deployments:
            spans = [
                schedule.schedule.interval
                for schedule in deployment.schedules
                if schedule.active and isinstance(schedule.schedule, IntervalSchedule)
            ]
            if LONG_RUNNING in deployment.tags and OPTIONAL not in deployment.tags:
                spans.append(BEAT_WITHIN)
            if spans and not deployment.paused:
                flow = await client.read_flow(deployment.flow_id)
                intervals[flow.name] = min(spans)
    return intervals
