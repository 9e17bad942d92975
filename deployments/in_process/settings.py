"""What can be set about an in-process worker, by environment variables that start with `KONTOR_WORKER_`."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class InProcessSettings(BaseSettings):
    """Settings of one worker process; durations are seconds or ISO 8601."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="KONTOR_WORKER_", extra="ignore")

    drain_grace: timedelta = Field(
        default=timedelta(seconds=10),
        ge=timedelta(0),
        description="How long runs may go on after a stop signal before they are canceled.",
    )
    stop_patience: timedelta = Field(
        default=timedelta(seconds=2),
        gt=timedelta(0),
        description="How long a canceled run may take to end before it is reported by name.",
    )
    stop_deadline: timedelta = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        description="How long a canceled run may clean up before it is canceled again, or abandoned by a drain.",
    )
    loop_block: timedelta = Field(
        default=timedelta(milliseconds=250),
        gt=timedelta(0),
        description="How long something may hold the event loop before the flow and its stack are named.",
    )
    memory_ceiling_mb: int | None = Field(
        default=None,
        gt=0,
        description="Resident memory above which the worker drains and ends with exit code 75, to be started again.",
    )
    sweep_interval: timedelta = Field(
        default=timedelta(seconds=20),
        gt=timedelta(0),
        description="How often runs of ended processes are looked for.",
    )
    sync_threads: int = Field(
        default=32,
        gt=0,
        description="How many synchronous flows may run at once, each in a thread of its own.",
    )
