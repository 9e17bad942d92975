"""What prefect.yaml may hold: Prefect's own keys, but strictly, since Prefect passes over a misspelled one."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

Step = dict[str, Any]
Steps = list[Step] | Step | None


class Strict(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ScheduleEntry(Strict):
    """When a deployment runs: one of interval, cron and rrule."""

    interval: Annotated[
        PositiveFloat | str | None, Field(description="Seconds from start to start, or a duration such as PT30S.")
    ] = None
    cron: str | None = None
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: Annotated[
        str | datetime | date | None, Field(description="Spreads the due times of equal intervals.")
    ] = None
    active: bool | str | None = None
    parameters: dict[str, Any] | None = None
    slug: str | None = None
    replaces: str | None = None
    day_or: bool | str | None = None


class WorkPoolEntry(Strict):
    """Who runs it."""

    name: str | None = None
    work_queue_name: Annotated[str | None, Field(description="The desk's workers take from updates and orders.")] = None
    job_variables: dict[str, Any] | None = None


class ConcurrencyEntry(Strict):
    """How many runs at once."""

    limit: int | None = None
    collision_strategy: str | None = None
    grace_period_seconds: int | None = None


class DeploymentEntry(Strict):
    """One deployment: a flow, its parameters, and when it runs."""

    name: Annotated[str, Field(min_length=1, description="Named like its account; an updater's own name.")]
    entrypoint: Annotated[str, Field(min_length=1, description="The flow: flows.market_data.update_tickers.")]
    version: str | None = None
    version_type: str | None = None
    tags: str | list[Any] | None = None
    description: str | None = None
    schedule: ScheduleEntry | str | None = None
    schedules: list[ScheduleEntry] | None = None
    paused: bool | str | None = None
    concurrency_limit: int | ConcurrencyEntry | str | None = None
    flow_name: str | None = None
    parameters: dict[str, Any] | None = None
    enforce_parameter_schema: bool | None = None
    build: Steps = None
    push: Steps = None
    pull: Steps = None
    work_pool: WorkPoolEntry | None = None
    triggers: list[dict[str, Any]] | None = None
    sla: list[dict[str, Any]] | None = None


class PrefectFile(BaseModel):
    """The whole of prefect.yaml; keys of one's own are a place for anchors."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: str | None = None
    prefect_version: Annotated[str | None, Field(alias="prefect-version")] = None
    build: Steps = None
    push: Steps = None
    pull: Steps = None
    deployments: list[DeploymentEntry]
