"""Whose updater a deployment is: its account, and the name its heartbeat has."""

from collections.abc import Mapping
from typing import Any

RUN_UPDATER = "run-updater"
DEFAULT_ACCOUNT = "paper"


def account_of(flow: str, deployment: str, parameters: Mapping[str, Any]) -> str:
    """The account a deployment works for: its parameter `account`, else the account it is named like."""
    named = parameters.get("account")
    if isinstance(named, str) and named:
        return named
    return DEFAULT_ACCOUNT if flow == RUN_UPDATER else deployment


def updater_of(flow: str, deployment: str, parameters: Mapping[str, Any]) -> str:
    """The name of the lease and the heartbeat: the flow's, or that of the updater its parameters define."""
    if flow != RUN_UPDATER:
        return flow
    named = parameters.get("name")
    return named if isinstance(named, str) and named else deployment
