"""From where a desk's server and its page are reached: this machine alone, or the world through something with TLS."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from deployments.home import LOOPBACK
from kontor.errors import ConfigError

HOST_VARIABLE = "KONTOR_PREFECT_HOST"
PUBLIC_VARIABLE = "KONTOR_PUBLIC_URL"
WEB_HOST_VARIABLE = "KONTOR_WEB_HOST"
WEB_PUBLIC_VARIABLE = "KONTOR_WEB_PUBLIC_URL"
# The desk's own processes reach their server by loopback, so it listens there whatever else it does.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - allowed only together with an address that has TLS


@dataclass(frozen=True, slots=True)
class Exposure:
    """Where the server listens, and the address people type when that is another one."""

    host: str = LOOPBACK
    public_url: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Prefect's server, as its two variables say; raises ConfigError for what would expose it in the clear."""
        return cls._read(environment, HOST_VARIABLE, PUBLIC_VARIABLE, "the server speaks no TLS, and who listens in")

    @classmethod
    def of_page(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The desk's page, by the same rules."""
        said = "the page speaks no TLS, and its password is the one that trades: who listens in"
        return cls._read(environment, WEB_HOST_VARIABLE, WEB_PUBLIC_VARIABLE, said)

    @classmethod
    def _read(cls, environment: Mapping[str, str] | None, host_name: str, public_name: str, danger: str) -> Self:
        environment = os.environ if environment is None else environment
        host = environment.get(host_name) or LOOPBACK
        public_url = _public_url(environment.get(public_name, ""), public_name)
        if host not in {LOOPBACK, *EVERYWHERE}:
            raise ConfigError(
                f"must be {LOOPBACK}, or {EVERYWHERE[0]} for every address of this machine, not {host!r}",
                where=host_name,
            )
        if host != LOOPBACK and not public_url:
            raise ConfigError(
                f"{danger} could trade: put a proxy with TLS in front and name its address in {public_name}, such as "
                "https://desk.example.org (docs/security.md)",
                where=host_name,
            )
        return cls(host, public_url)

    def ui_api_url(self, port: int) -> str:
        """The API's address as a page of the UI has to ask for it."""
        return f"{self.public_url or f'http://{LOOPBACK}:{port}'}/api"

    def origins(self, port: int) -> str:
        """The only origins whose pages may read the API's answers."""
        own = [f"http://{LOOPBACK}:{port}", f"http://localhost:{port}"]
        return ",".join([*own, self.public_url] if self.public_url else own)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _public_url(text: str, variable: str) -> str:
    if not text:
        return ""
    parts = urlsplit(text.rstrip("/"))
    if parts.scheme != "https" or not parts.hostname or parts.path or parts.query or parts.username:
        raise ConfigError(
            f"must be an https:// address without a path, such as https://desk.example.org, not {text!r}",
            where=variable,
        )
    return f"https://{parts.netloc}"
