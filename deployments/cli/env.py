"""`kontor env`: what a shell needs to talk to the desk with Prefect's own command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Annotated

from cyclopts import Parameter

from deployments.credentials import AUTH_VARIABLE, read_auth, read_key
from deployments.home import HOME_VARIABLE, Home, Ports
from deployments.instance import running_record
from deployments.server_settings import client_environment, server_environment
from kontor.errors import KontorError

# A server for one run has its own port, and no time to clean up.
OF_A_RUNNING_SERVER = frozenset(
    {
        "PREFECT_API_URL",
        "PREFECT_SERVER_API_HOST",
        "PREFECT_SERVER_API_PORT",
        "PREFECT_SERVER_UI_API_URL",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED",
    }
)


def desk_environment(home: Home) -> Mapping[str, str]:
    """The variables of the desk that runs on the home, else of the next one; no secret is among them."""
    record = running_record(home)
    ports = record.ports if record is not None else Ports.from_environment()
    return {HOME_VARIABLE: str(home.path), **client_environment(home.path, ports.prefect)}


def run_environment(home: Home) -> Mapping[str, str]:
    """What a flow needs that runs in a process of its own.

    The running desk's server; without a desk, a server that Prefect starts for the run, on the desk's database, where
    the blocks are. Raises KontorError when no desk has ever run on this home.
    """
    auth = read_auth(home)
    if running_record(home) is not None:
        return {**desk_environment(home), AUTH_VARIABLE: auth} if auth else desk_environment(home)
    port = Ports.from_environment().prefect
    # Without the key the server could not read the blocks; without the password anybody on this machine could.
    variables = server_environment(home.path, port, auth=auth, encryption_key=read_key(home))
    if not (home.path / "prefect" / "prefect.db").exists():
        raise KontorError(f"no desk has ever run on {home.path}; 'kontor up' starts one")
    return {
        HOME_VARIABLE: str(home.path),
        **{name: value for name, value in variables.items() if name not in OF_A_RUNNING_SERVER},
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "60",
    }


def env(
    *,
    for_run: Annotated[bool, Parameter(negative="", help="As JSON, for a flow in a process of its own.")] = False,
) -> None:
    """Print the exports for this desk: eval "$(kontor env)", then `prefect deployment run ...` reaches it."""
    home = Home.from_environment()
    if for_run:
        print(json.dumps(run_environment(home)))  # noqa: T201 - `python -m flows.x` reads it
        return
    for name, value in desk_environment(home).items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201 - a shell reads it
    if home.auth_file.exists():
        # The shell reads the file itself: what is printed here may end in a log or on a screen that others see.
        print(f'export {AUTH_VARIABLE}="$(cat {shlex.quote(str(home.auth_file))})"')  # noqa: T201
