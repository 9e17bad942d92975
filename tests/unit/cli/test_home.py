"""A desk's folder, ports and lock: the three things two desks could fight over."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.home import DeskRunning, Home, Ports, require_free
from kontor.errors import ConfigError


def test_without_variables_a_desk_lives_in_the_working_folder_on_the_well_known_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quickstart sets nothing."""
    monkeypatch.chdir(tmp_path)
    assert Home.from_environment({}).path == tmp_path / ".kontor"
    assert Ports.from_environment({}) == Ports(4200, 8400, 8410)


def test_a_home_given_relative_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children work in the project's folder: a relative home would mean another one to them."""
    monkeypatch.chdir(tmp_path)
    assert Home.from_environment({"KONTOR_HOME": "state"}).path == tmp_path / "state"


def test_a_home_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """It holds keys and databases."""
    home = Home(tmp_path / "home")
    home.make()
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_a_file_is_one_sentence_naming_the_variable(tmp_path: Path) -> None:
    """A typo must not end in a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"KONTOR_HOME: .*file cannot be used"):
        Home(tmp_path / "file").make()


@pytest.mark.parametrize("text", ["abc", "0", "70000", "-1", "42.5", " ", "٤٢٠٠"])
@pytest.mark.parametrize("variable", ["KONTOR_PREFECT_PORT", "KONTOR_PAPER_PORT", "KONTOR_WEB_PORT"])
def test_a_port_that_is_none_is_refused_by_the_name_of_its_variable(variable: str, text: str) -> None:
    """The interface of the project: a wrong port is a clear error naming the variable."""
    with pytest.raises(ConfigError, match=rf"^{variable}: must be a port number from 1 to 65535, not "):
        Ports.from_environment({variable: text})


def test_one_port_for_both_servers_is_refused() -> None:
    """The second server would die with an address error a minute later."""
    with pytest.raises(ConfigError, match="KONTOR_PAPER_PORT: 4200 is the port of KONTOR_PREFECT_PORT already"):
        Ports.from_environment({"KONTOR_PAPER_PORT": "4200"})
    with pytest.raises(ConfigError, match="KONTOR_WEB_PORT: 8400 is the port of KONTOR_PAPER_PORT already"):
        Ports.from_environment({"KONTOR_WEB_PORT": "8400"})


def test_a_desk_without_its_page_has_no_port_for_it() -> None:
    """Off is said in words; nothing is looked for, and nothing listens."""
    ports = Ports.from_environment({"KONTOR_WEB_PORT": "off"})
    assert (ports.web, ports.web_url) == (0, "")
    assert Ports.from_environment({"KONTOR_WEB_PORT": "9000"}).web_url == "http://127.0.0.1:9000"


def test_a_taken_port_is_refused_by_the_name_of_its_variable() -> None:
    """And a free one is not."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"KONTOR_PREFECT_PORT: port {port} is taken by another program"):
            require_free(port, "KONTOR_PREFECT_PORT")
    require_free(port, "KONTOR_PREFECT_PORT")


def test_only_one_may_hold_a_home_and_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """Two desks on one store would execute orders twice; a lock that outlived a crash would lock its owner out."""
    home = Home(tmp_path)
    assert not home.is_locked()
    with home.locked():
        assert home.is_locked()
        with pytest.raises(DeskRunning, match=str(tmp_path)), home.locked():
            pytest.fail("two held the lock")
    code = f"""
import os, pathlib
from deployments.home import Home
with Home(pathlib.Path({str(tmp_path)!r})).locked():
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert not home.is_locked()
