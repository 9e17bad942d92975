"""The record of a running desk: its processes, each told apart from a later one of the same pid."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.home import Home, Ports
from kontor.errors import KontorError

# psutil reads start times in clock ticks; two reads of one process agree to much less than this.
SAME_START_SECONDS = 0.05
# An orders worker lets its runs finish first.
LEFTOVER_PATIENCE = 20.0


class ProcessRef(BaseModel):
    """A process by pid and start time."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> Self | None:
        """The process that has this pid now, or None when there is none."""
        try:
            return cls(name=name, pid=pid, started=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def find(self) -> psutil.Process | None:
        """The very process, if it still runs; another one that was given its pid is not it, nor is a zombie."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class DeskRecord(BaseModel):
    """What `kontor up` writes about itself for `status`, `env`, `down`, and the next `up`."""

    supervisor: ProcessRef
    boot_at: datetime
    prefect_port: int
    paper_port: int
    # 0: no page, as on a desk from before there was one.
    web_port: int = 0
    ready: bool = False
    children: list[ProcessRef] = Field(default_factory=list)

    @classmethod
    def of_this_process(cls, ports: Ports) -> Self:
        """The record of a desk that this process is bringing up now."""
        this = ProcessRef.of("kontor up", os.getpid())
        if this is None:
            raise RuntimeError("this process is not in its own process table")
        return cls(
            supervisor=this,
            boot_at=datetime.now(UTC),
            prefect_port=ports.prefect,
            paper_port=ports.paper,
            web_port=ports.web,
        )

    @property
    def ports(self) -> Ports:
        """The ports the desk was brought up with."""
        return Ports(self.prefect_port, self.paper_port, self.web_port)

    def save(self, home: Home) -> None:
        """Write it whole or not at all."""
        write_private(home.record_file, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, home: Home) -> Self | None:
        """The last record written on this home; None when there is none, or what is there is none."""
        try:
            return cls.model_validate_json(home.record_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None


def running_record(home: Home) -> DeskRecord | None:
    """The record of the desk that runs on this home now, or None."""
    record = DeskRecord.load(home) if home.is_locked() else None
    return record if record is not None and record.supervisor.find() is not None else None


def leftovers(record: DeskRecord | None) -> list[tuple[ProcessRef, psutil.Process]]:
    """Children of an earlier desk that outlived it."""
    found = [(child, child.find()) for child in (record.children if record else [])]
    return [(child, process) for child, process in found if process is not None]


def end_leftovers(record: DeskRecord | None, say: Callable[[str], None]) -> int:
    """End the children of a desk that was killed, and say so; returns how many there were."""
    found = leftovers(record)
    if not found:
        return 0
    say(f"an earlier desk left {', '.join(f'the {child.name} (pid {child.pid})' for child, _ in found)}: ending them")
    stubborn = end_processes([process for _, process in found], patience=LEFTOVER_PATIENCE)
    if stubborn:
        pids = ", ".join(str(process.pid) for process in stubborn)
        raise KontorError(f"processes {pids} of an earlier desk cannot be ended; end them by hand")
    return len(found)


def end_processes(processes: Sequence[psutil.Process], *, patience: float) -> list[psutil.Process]:
    """Ask them to end, then make them; returns those that are still there."""
    _each(processes, psutil.Process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=patience)
    _each(alive, psutil.Process.kill)
    _, alive = psutil.wait_procs(alive, timeout=5)
    return alive


def _each(processes: Iterable[psutil.Process], action: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            action(process)
        except psutil.NoSuchProcess:
            continue


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, in one step: a reader sees the old content or the new."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
