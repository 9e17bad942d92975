"""The desk as a service: a unit that systemd takes, and a watchdog that stops hearing of a desk that hangs."""

from __future__ import annotations

import asyncio
import configparser
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from deployments.home import Home
from deployments.project import Project
from deployments.systemd import systemd_version, tell, unit, watched


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """Also with a blank and a percent sign in its paths."""
    text = unit(Home(tmp_path / "my 100% home"), Project(tmp_path), "trader", {"KONTOR_PREFECT_PORT": "4321"})
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parsed.read_string(text)
    service = parsed["Service"]
    assert (service["Type"], service["User"], service["KillMode"]) == ("notify", "trader", "mixed")
    assert service["ExecStart"].endswith("-m deployments.cli up")
    assert f'Environment="KONTOR_HOME={tmp_path}/my 100%% home"' in text
    assert 'Environment="KONTOR_PREFECT_PORT=4321"' in text
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        file = tmp_path / "kontor.service"
        file.write_text(unit(Home(tmp_path), Project(tmp_path), "root", {}, systemd_version()))
        output = subprocess.run([verify, "verify", str(file)], capture_output=True, text=True, check=False)
        assert "kontor.service:" not in output.stderr, output.stderr


def test_the_service_is_never_given_up_however_often_it_fails(tmp_path: Path) -> None:
    """At night an exchange or a database may be away for hours; by morning the desk must have come up by itself."""

    def service(version: int | None) -> configparser.ConfigParser:
        parsed = configparser.ConfigParser(strict=False, interpolation=None)
        parsed.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
        parsed.read_string(unit(Home(tmp_path), Project(tmp_path), "trader", {}, version))
        return parsed

    for version in (None, 232, 252, 254, 257):
        text = service(version)
        assert text["Unit"]["StartLimitIntervalSec"] == "0"
        assert "StartLimitBurst" not in text["Unit"]
        assert text["Service"]["Restart"] == "on-failure"
        knows = version is not None and version >= 254
        assert ("RestartSteps" in text["Service"]) is knows
        assert float(text["Service"]["RestartSec"]) <= 30
        if knows:
            assert text["Service"]["RestartMaxDelaySec"] == "300"


def test_without_systemd_nothing_is_said() -> None:
    """A desk in a terminal."""
    assert not tell("READY=1", {})
    assert not tell("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})


async def test_the_watchdog_hears_of_the_desk_while_it_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no longer, when a part of it is not looked after any more."""
    well = True

    async def is_well() -> bool:
        return well

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        loop = asyncio.get_running_loop()
        async with watched(is_well):
            heard = [await loop.sock_recv(listener, 100) for _ in range(3)]
            assert heard == [b"WATCHDOG=1"] * 3
            well = False
            await asyncio.sleep(0.02)
            while True:
                try:
                    listener.recv(100)
                except BlockingIOError:
                    break
            await asyncio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                listener.recv(100)
