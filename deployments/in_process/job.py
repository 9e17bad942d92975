"""What a deployment may ask of an in-process worker, and what the worker says about a finished run."""

from __future__ import annotations

import os
from typing import Literal

from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorkerResult
from pydantic import Field


class JobVariables(BaseVariables):
    """The form of a work pool of this type."""

    when_drained: Literal["crash", "reschedule"] = Field(
        default="crash",
        title="When the worker is stopped",
        description=(
            "What becomes of a run that is still going when its worker is told to stop and the grace period is over: "
            "'crash' ends it as Crashed (automations see it); 'reschedule' puts the same run back into its queue, "
            "for long-running flows that are made to start again."
        ),
    )
    env: dict[str, str | None] = Field(
        default_factory=dict,
        title="Environment Variables",
        description=(
            "Runs share the worker's process and so its environment: a run whose variables differ from the worker's "
            "is refused. Start the worker with these variables instead."
        ),
    )


class JobConfiguration(BaseJobConfiguration):
    """A deployment's job variables, applied to the work pool's template."""

    when_drained: Literal["crash", "reschedule"] = Field(default="crash")

    def foreign_environment(self) -> list[str]:
        """The names of the variables this job wants that the worker's process does not have with that value."""
        return sorted(name for name, value in self.env.items() if os.environ.get(name) != value)


class JobResult(BaseWorkerResult):
    """Status 0 if the run's life in this worker was orderly, whatever state the flow ended in."""
