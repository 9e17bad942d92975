"""`kontor env`: what a shell needs to talk to the desk with Prefect's own command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from deployments.home import HOME_VARIABLE, Home, Ports
from deployments.instance import running_record
from deployments.server_settings import client_environment


def desk_environment(home: Home) -> Mapping[str, str]:
    """The variables: those of the desk that runs on the home, else those the next one would have."""
    record = running_record(home)
    ports = record.ports if record is not None else Ports.from_environment()
    return {HOME_VARIABLE: str(home.path), **client_environment(home.path, ports.prefect)}


def env() -> None:
    """Print the exports for this desk: eval "$(kontor env)", then `prefect deployment run ...` reaches it."""
    for name, value in desk_environment(Home.from_environment()).items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201 - a shell reads it
