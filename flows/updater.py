"""Updaters defined by configuration alone: as many deployments of `run_updater` as wanted, in prefect.yaml."""

from datetime import timedelta
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import deployment
from pydantic import Field

from flows.shell import run_named_flow
from kontor.errors import ConfigError
from kontor.updaters.step import UPDATER_NAME, Step
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.updater import take_steps

# The flow's own timeout; `timeout_seconds` of an updater is what counts.
LONGEST_SECONDS = 600
AIR = timedelta(seconds=15)

Steps = Annotated[list[Step], Field(min_length=1, description="Taken in order; each result is stored at once.")]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, description="How long all steps together may take.")]


@flow(
    name="run-updater",
    timeout_seconds=LONGEST_SECONDS + 10,
    retries=2,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
)
@updater
async def run_updater(
    steps: Steps,
    name: Annotated[str, Field(pattern=rf"({UPDATER_NAME})|^$", description="Left out: the deployment's name.")] = "",
    account: str = "paper",
    timeout_seconds: Seconds = 60,
) -> dict[str, Any]:
    """Take the steps of an updater in order: call something documented, store its result under a name.

    A step that fails leaves the results of the steps before it in place; the run is then retried whole.
    """
    named = name or deployment.name
    if not named:
        raise ConfigError("an updater without a deployment needs a name", where="name")
    overlap = timedelta(seconds=timeout_seconds) + AIR
    async with open_desk(account, updater=named, overlap=overlap) as desk:
        return {"updater": named, "results": await take_steps(desk, steps, seconds=timeout_seconds)}


if __name__ == "__main__":
    run_named_flow(globals())
