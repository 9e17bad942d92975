"""The places in Prefect that assume a process per run, and what stands there while a worker shares its process.

Each replaced name is private to the pinned Prefect; `tests/unit/worker/test_seams.py` fails if one of them moves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect import flow_engine, results
from prefect.client.orchestration import PrefectClient

from deployments.in_process.runs import ACTIVE, StopKind


class DefaultResultStorage:
    """The server's default result storage, asked for once a minute.

    Prefect asks twice per run, once of them with a new synchronous client: 30 ms of CPU, memory that is not given
    back, and a loop that stands still until the server has answered.
    """

    def __init__(self) -> None:
        self._block_id: UUID | None = None

    async def refresh(self, client: PrefectClient) -> None:
        """Ask the server."""
        self._block_id = (await client.read_server_default_result_storage()).default_result_storage_block_id

    def read(self) -> UUID | None:
        """The answer that was last given."""
        return self._block_id

    async def aread(self) -> UUID | None:
        """The answer that was last given."""
        return self._block_id


@contextmanager
def leave_sigterm_alone() -> Iterator[None]:
    """In place of an engine's SIGTERM handler: the signal is for the worker, which stops its runs one by one."""
    yield


def intent_of_active_run() -> str | None:
    """In place of a process-wide cancel intent: the intent of the run that asks, its child flows included."""
    run = ACTIVE.get()
    return "cancel" if run is not None and run.stop is not None and run.stop.kind is StopKind.CANCELED else None


def replacements(storage: DefaultResultStorage) -> list[tuple[Any, str, Any]]:
    """Every replaced name: module, name, what stands there."""
    return [
        (flow_engine, "capture_sigterm", leave_sigterm_alone),
        (flow_engine, "_termination_intent", intent_of_active_run),
        (results, "_read_server_default_result_storage_block_id", storage.read),
        (results, "_aread_server_default_result_storage_block_id", storage.aread),
    ]


@contextmanager
def shared_process(storage: DefaultResultStorage) -> Iterator[None]:
    """While inside, Prefect's engines behave in this process as one run among many."""
    replaced = [(module, name, getattr(module, name)) for module, name, _ in replacements(storage)]
    for module, name, replacement in replacements(storage):
        setattr(module, name, replacement)
    try:
        yield
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)
