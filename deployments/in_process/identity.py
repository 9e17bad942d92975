"""Which process a flow run lives in, so that a later process can tell whether it still does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

#: `/proc/<pid>/stat` after the command's closing bracket: the state is field 0, the start time field 19.
_STATE, _START = 0, 19


def _process_facts(pid: int) -> tuple[bool, int] | None:
    """Whether the process runs (a zombie does not) and when it started, or None where `/proc` does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return fields[_STATE] not in {"Z", "X"}, int(fields[_START])


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be confused with a later one of the same pid."""

    host: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Self:
        """This process."""
        facts = _process_facts(os.getpid())
        return cls(socket.gethostname(), os.getpid(), facts[1] if facts else 0)

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The identity at the head of an infrastructure id, or None if it was written by something else."""
        match (text or "").split(":"):
            case [host, pid, started, *_] if pid.isdecimal() and started.isdecimal():
                return cls(host, int(pid), int(started))
            case _:
                return None

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started}"

    def infrastructure_pid(self, flow_run_id: UUID) -> str:
        """What Prefect stores as the run's infrastructure: this process, and the run inside it."""
        return f"{self}:{flow_run_id}"

    def is_gone(self) -> bool:
        """Whether the process is known to have ended. One of another host is never known to have."""
        if self.host != socket.gethostname():
            return False
        facts = _process_facts(self.pid)
        if facts is None:
            return not _pid_exists(self.pid)
        runs, started = facts
        return not runs or started != self.started


def _pid_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
