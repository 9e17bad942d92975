"""Families of samples, as collectors hand them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Labels = Sequence[str]
Samples = Iterable[tuple[Labels, float | None]]


def gauge(name: str, text: str, labels: Labels, samples: Samples) -> GaugeMetricFamily:
    """A family with the samples that are known."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family


def counter(name: str, text: str, labels: Labels, samples: Samples) -> CounterMetricFamily:
    """A family of counts that somebody else keeps; `name` is without `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family
