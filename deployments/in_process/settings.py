"""What can be set about an in-process worker, by environment variables that start with `KONTOR_WORKER_`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _in_seconds(value: Any) -> Any:
    """Environment variables are text, and pydantic takes a bare number of seconds only as a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


Seconds = Annotated[timedelta, BeforeValidator(_in_seconds)]


class InProcessSettings(BaseSettings):
    """Settings of one worker process; durations are seconds or ISO 8601."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(env_prefix="KONTOR_WORKER_", extra="ignore")

    drain_grace: Seconds = Field(
        default=timedelta(seconds=10),
        ge=timedelta(0),
        description="How long runs may go on after a stop signal before they are canceled.",
    )
    stop_patience: Seconds = Field(
        default=timedelta(seconds=2),
        gt=timedelta(0),
        description="How long a canceled run may take to end before it is reported by name.",
    )
    stop_deadline: Seconds = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        description="How long a canceled run may clean up before it is canceled again, or abandoned by a drain.",
    )
    loop_block: Seconds = Field(
        default=timedelta(milliseconds=250),
        gt=timedelta(0),
        description="How long something may hold the event loop before the flow and its stack are named.",
    )
    memory_ceiling_mb: int | None = Field(
        default=None,
        gt=0,
        description="Resident memory above which the worker drains and ends with exit code 75, to be started again.",
    )
    sweep_interval: Seconds = Field(
        default=timedelta(seconds=20),
        gt=timedelta(0),
        description="How often runs of ended processes are looked for.",
    )
    metrics_folder: Path | None = Field(
        default=None,
        description="Where the worker says under which address it serves its figures; without, it serves none.",
    )
    pulse_fd: int | None = Field(
        default=None,
        ge=0,
        description="A pipe that gets a byte every few seconds while the event loop turns; 'kontor up' sets it.",
    )
    sync_threads: int = Field(
        default=32,
        gt=0,
        description="How many synchronous flows may run at once, each in a thread of its own.",
    )
