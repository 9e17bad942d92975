"""The flow runs of one worker: how many, how late, how long, and how they ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

if TYPE_CHECKING:
    from deployments.in_process.runs import ActiveRun

LATENESS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RUN = ("flow", "deployment")


class RunFigures:
    """Counts in memory; a few additions a run."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter("kontor_runs", "Flow runs that ended, by state.", [*_RUN, "state"], registry=registry)
        self._lateness = Histogram(
            "kontor_run_lateness_seconds",
            "From when a run was due to its beginning.",
            _RUN,
            buckets=LATENESS,
            registry=registry,
        )
        self._seconds = Summary("kontor_run_seconds", "How long flow runs took.", _RUN, registry=registry)
        self._active = Gauge("kontor_runs_active", "Flow runs that are at work now.", registry=registry)

    def began(self, run: ActiveRun) -> None:
        """A run's flow begins."""
        self._active.inc()
        late = time.time() - run.due_at.timestamp()
        self._lateness.labels(run.deployed.flow_name, run.deployed.deployment.name).observe(max(late, 0.0))

    def ended(self, run: ActiveRun, state: Any) -> None:
        """Its flow is over; without a state it was ended from outside."""
        self._active.dec()
        names = run.deployed.flow_name, run.deployed.deployment.name
        self._seconds.labels(*names).observe(run.running_for())
        self._runs.labels(*names, getattr(state, "name", None) or "Stopped").inc()
