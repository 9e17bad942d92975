"""A desk as a service of systemd: its unit, and the words a service says to systemd."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from deployments.home import HOME_VARIABLE, Home
from deployments.project import Project

# The desk says so several times within this; a supervisor that hangs is ended and started again.
WATCHDOG = timedelta(seconds=120)
# What `kontor down` waits for, and some air.
STOP = timedelta(seconds=240)
START = timedelta(seconds=900)
# Between two starts that failed: at once what passes soon, ever later what does not, and never given up.
FIRST_PAUSE, LONGEST_PAUSE, STEPS = timedelta(seconds=10), timedelta(seconds=300), 6
# The first systemd that knows pauses that grow; an older one would complain about them in its log.
GROWING = 254


def unit(home: Home, project: Project, user: str, environment: Mapping[str, str], version: int | None = None) -> str:
    """The text of `kontor.service` for a home and a project folder; `environment` is what the desk should be told.

    `version` is that of the systemd it is for; None is an old one.
    """
    told = {HOME_VARIABLE: str(home.path), **environment}
    variables = "\n".join(f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(told.items()))
    return f"""[Unit]
Description=Kontor trading desk ({_plain(str(home.path))})
Documentation=file:{_plain(str(project.path))}/docs/lifecycle.md
Wants=network-online.target
After=network-online.target time-sync.target
# Never give up: an exchange or a database that is away at night comes back without anybody's help.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
WorkingDirectory={_plain(str(project.path))}
{variables}
ExecStart={_plain(shlex.quote(sys.executable))} -m deployments.cli up
# The desk stops its own processes, orders first; what it leaves is ended after that.
KillMode=mixed
TimeoutStartSec={START.total_seconds():.0f}
TimeoutStopSec={STOP.total_seconds():.0f}
WatchdogSec={WATCHDOG.total_seconds():.0f}
Restart=on-failure
{_pauses(version)}
# What is written is for its owner alone, and nobody gains rights.
UMask=0077
NoNewPrivileges=true
PrivateTmp=true
ProtectSystem=full

[Install]
WantedBy=multi-user.target
"""


def systemd_version() -> int | None:
    """That of this machine's systemd; None where there is none."""
    command = shutil.which("systemctl")
    if command is None:
        return None
    try:
        output = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, timeout=10)
        return int(output.stdout.split()[1])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None


def _pauses(version: int | None) -> str:
    first, longest = FIRST_PAUSE.total_seconds(), LONGEST_PAUSE.total_seconds()
    if version is None or version < GROWING:
        return f"RestartSec={first * 3:.0f}"
    return f"RestartSec={first:.0f}\nRestartSteps={STEPS}\nRestartMaxDelaySec={longest:.0f}"


def tell(message: str, environment: Mapping[str, str] | None = None) -> bool:
    """Say READY=1, WATCHDOG=1, STOPPING=1 or STATUS=... to systemd; False when it does not listen, or there is none."""
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address:
        return False
    # An abstract socket's name begins with a null byte, written as @.
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
            speaker.connect(name)
            speaker.sendall(message.encode())
    except OSError:
        return False
    return True


@asynccontextmanager
async def watched(is_well: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    """While inside, tell systemd's watchdog that all is well, for as long as the check says so."""
    limit = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
    if not limit:
        yield
        return

    async def beat() -> None:
        while True:
            if await is_well():
                tell("WATCHDOG=1")
            await asyncio.sleep(limit / 4)

    task = asyncio.create_task(beat(), name="systemd watchdog")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _plain(text: str) -> str:
    """Escaped: systemd expands % and $ in most places."""
    return text.replace("%", "%%").replace("$", "$$")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
