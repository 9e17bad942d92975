"""The figures of every process of a desk at one address, for a Prometheus that knows one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from deployments.metrics.endpoint import Target, targets
from deployments.metrics.families import gauge

#: The process that reads the store for the others: the page's. While there is none, the one that merges does.
DESK, HERE = "desk", "metrics"
SCRAPE_SECONDS = 5.0
Families = Iterable[Metric]


class MergedCollector(Collector):
    """Asks each process; while none of them reads the store, `read_store` does, and `followed` has what it counted."""

    def __init__(
        self, folder: Path, read_store: Callable[[], Families], followed: Callable[[], Families] = tuple
    ) -> None:
        self._folder, self._read_store, self._followed = folder, read_store, followed

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering must not ask anybody."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family once, its samples labeled by process."""
        merged: dict[str, Metric] = {}
        up: dict[str, float] = {}
        for target in targets(self._folder):
            text = ask(target)
            up[target.process] = float(text is not None)
            if text is not None:
                add(merged, target.process, text_string_to_metric_families(text))
        if not up.get(DESK):
            add(merged, DESK, self._read_store())
            add(merged, HERE, self._followed())
        samples = [([process], figure) for process, figure in up.items()]
        yield gauge("kontor_process_up", "Whether the process could be asked.", ["process"], samples)
        yield from merged.values()


def ask(target: Target) -> str | None:
    """A process's figures; None when it does not answer."""
    try:
        answer = httpx.get(target.url, timeout=SCRAPE_SECONDS, trust_env=False)
    except httpx.TransportError:
        return None
    return answer.text if answer.is_success else None


def add(merged: dict[str, Metric], process: str, families: Families) -> None:
    """Put a process's samples to those of the others."""
    for family in families:
        known = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        for sample in family.samples:
            known.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
