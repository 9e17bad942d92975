"""Where the server may listen: an open Prefect API is a trading API."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from deployments.exposure import EVERYWHERE, Exposure, is_loopback
from deployments.server import main
from deployments.server_settings import server_environment
from kontor.errors import ConfigError


def test_by_default_only_this_machine_reaches_the_server() -> None:
    """Whatever the network is like."""
    assert Exposure.from_environment({}) == Exposure("127.0.0.1", "")


def test_listening_elsewhere_needs_an_address_with_tls() -> None:
    """The password goes with every request."""
    with pytest.raises(ConfigError, match=r"KONTOR_PREFECT_HOST: the server speaks no TLS.*KONTOR_PUBLIC_URL"):
        Exposure.from_environment({"KONTOR_PREFECT_HOST": EVERYWHERE[0]})
    with pytest.raises(ConfigError, match="KONTOR_PREFECT_HOST: must be 127"):
        Exposure.from_environment({"KONTOR_PREFECT_HOST": "192.168.1.5"})
    with pytest.raises(ConfigError, match="KONTOR_PUBLIC_URL: must be an https"):
        Exposure.from_environment({"KONTOR_PUBLIC_URL": "http://desk.example.org"})
    open_desk = {"KONTOR_PREFECT_HOST": EVERYWHERE[0], "KONTOR_PUBLIC_URL": "https://desk.example.org/"}
    assert Exposure.from_environment(open_desk) == Exposure(EVERYWHERE[0], "https://desk.example.org")


def test_the_page_is_exposed_by_the_same_rules_and_by_variables_of_its_own() -> None:
    """Its password is the one that trades."""
    assert Exposure.of_page({"KONTOR_PREFECT_HOST": EVERYWHERE[0]}) == Exposure("127.0.0.1", "")
    with pytest.raises(ConfigError, match=r"KONTOR_WEB_HOST: the page speaks no TLS.*KONTOR_WEB_PUBLIC_URL"):
        Exposure.of_page({"KONTOR_WEB_HOST": EVERYWHERE[0]})
    open_page = {"KONTOR_WEB_HOST": EVERYWHERE[0], "KONTOR_WEB_PUBLIC_URL": "https://desk.example.org"}
    assert Exposure.of_page(open_page) == Exposure(EVERYWHERE[0], "https://desk.example.org")


def test_the_server_refuses_other_addresses_without_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it is started."""
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(["--host", EVERYWHERE[0]])
    assert stopped.value.code == 2
    assert "would let anybody on that network trade" in capsys.readouterr().err
    assert is_loopback("127.0.0.1")
    assert is_loopback("localhost")
    assert not is_loopback("desk.example.org")


def test_a_public_address_is_what_the_ui_asks_and_what_may_ask(tmp_path: Path) -> None:
    """A page that is loaded from there has to reach the API; pages from elsewhere must not."""
    exposure = Exposure(EVERYWHERE[0], "https://desk.example.org")
    found = server_environment(tmp_path, 4321, retention=timedelta(days=1), auth="admin:word", exposure=exposure)
    assert found["PREFECT_SERVER_UI_API_URL"] == "https://desk.example.org/api"
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    origins = found["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"].split(",")
    assert origins == ["http://127.0.0.1:4321", "http://localhost:4321", "https://desk.example.org"]
    assert found["PREFECT_SERVER_API_AUTH_STRING"] == found["PREFECT_API_AUTH_STRING"] == "admin:word"
    assert found["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
