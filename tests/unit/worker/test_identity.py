"""Telling a living process from an ended one, and from a later one of the same pid."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from deployments.in_process.identity import ProcessIdentity


def test_this_process_lives_and_is_found_in_what_prefect_stores() -> None:
    """The identity has to survive its way through Prefect's database."""
    here = ProcessIdentity.current()
    assert ProcessIdentity.parse(here.infrastructure_pid(uuid4())) == here
    assert not here.is_gone()


def test_an_ended_process_is_gone_even_while_it_is_a_zombie() -> None:
    """A supervisor may take its time to collect the exit code."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        stat = Path(f"/proc/{process.pid}/stat")
        started = int(stat.read_text().rsplit(")", 1)[1].split()[19])
        child = replace(ProcessIdentity.current(), pid=process.pid, started=started)
        assert not child.is_gone()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
        assert child.is_gone()
    assert child.is_gone()


def test_a_later_process_of_the_same_pid_is_not_the_same() -> None:
    """Pids come round again; start times do not."""
    here = ProcessIdentity.current()
    assert replace(here, started=here.started - 1).is_gone()


def test_a_process_of_another_host_is_never_known_to_be_gone() -> None:
    """Only that host's own workers can tell."""
    assert not replace(ProcessIdentity.current(), host="elsewhere", pid=1, started=1).is_gone()


def test_what_other_workers_store_is_not_an_identity() -> None:
    """A process worker writes a pid, docker a container id."""
    assert [ProcessIdentity.parse(text) for text in (None, "", "1234", "host:12", "container:abc:def")] == [None] * 5
