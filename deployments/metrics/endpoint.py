"""One process's figures on a port of its own, and the file by which Prometheus finds it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, start_http_server

from deployments.home import LOOPBACK
from deployments.instance import write_private

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a scrape waits for a loop that is busy with something else.
LOOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """A process that serves figures."""

    process: str
    address: str

    @property
    def url(self) -> str:
        """Where its figures are."""
        return f"http://{self.address}/metrics"

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """The target in a file; None while it is being made or removed."""
        try:
            [group] = json.loads(file.read_text(encoding="utf-8"))
            return cls(group["labels"]["process"], group["targets"][0])
        except (OSError, ValueError, KeyError, IndexError):
            return None

    def write(self, folder: Path) -> Path:
        """Write it as Prometheus reads it (file_sd_configs); returns the file."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / f"{self.process}.json"
        group = {"targets": [self.address], "labels": {"process": self.process}}
        write_private(file, json.dumps([group]) + "\n")
        return file


def targets(folder: Path) -> list[Target]:
    """The processes that serve figures, or did when they were killed."""
    found = [Target.read(file) for file in sorted(folder.glob("*.json"))]
    return [each for each in found if each is not None]


def new_registry() -> CollectorRegistry:
    """A registry with what any process has: CPU, memory, open files."""
    disable_created_metrics()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


@contextmanager
def serving(folder: Path, process: str, registry: CollectorRegistry) -> Iterator[None]:
    """Serve the registry on loopback, on a port that is free, in a thread that sleeps until somebody asks.

    A process that cannot do so works without: figures are no reason not to trade.
    """
    try:
        server, thread = start_http_server(0, addr=LOOPBACK, registry=registry)
        file = Target(process, f"{LOOPBACK}:{server.server_port}").write(folder)
    except OSError as error:
        log.warning("metrics_not_served process=%s error=%s", process, error)
        yield
        return
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join()


def on_loop(loop: asyncio.AbstractEventLoop, look: Callable[[], T], otherwise: T) -> T:
    """What `look` finds on the loop whose objects it reads; called from the thread of a scrape."""
    found: Future[T] = Future()

    def work() -> None:
        try:
            found.set_result(look())
        except Exception as error:  # noqa: BLE001 - the scrape is told, the loop goes on
            found.set_exception(error)

    try:
        loop.call_soon_threadsafe(work)
        return found.result(LOOP_SECONDS)
    except (TimeoutError, RuntimeError):
        # A loop that is blocked, or closing: no figures are better than a scrape that hangs.
        return otherwise
