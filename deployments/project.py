"""The project folder: where prefect.yaml and kontor.yaml are, and what the former says while no server can be asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from kontor.errors import ConfigError
from kontor.updaters.naming import account_of, updater_of

DEPLOYMENTS_FILE = "prefect.yaml"
CONFIG_FILE = "kontor.yaml"
CONFIG_VARIABLE = "KONTOR_CONFIG"


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A deployment as prefect.yaml names it."""

    flow: str
    name: str
    entrypoint: str
    parameters: Mapping[str, Any]
    queue: str


@dataclass(frozen=True, slots=True)
class Project:
    """A folder that holds a prefect.yaml."""

    path: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The working directory, else the folder the packages were installed from; raises ConfigError for neither."""
        candidates = (start or Path.cwd(), Path(__file__).resolve().parent.parent)
        for folder in candidates:
            if (folder / DEPLOYMENTS_FILE).is_file():
                return cls(folder.absolute())
        raise ConfigError(
            f"there is none here, in {candidates[0]}; run this in the folder of your {DEPLOYMENTS_FILE}",
            where=DEPLOYMENTS_FILE,
        )

    @property
    def deployments_file(self) -> Path:
        """What runs and when."""
        return self.path / DEPLOYMENTS_FILE

    @property
    def config_file(self) -> Path:
        """What is traded and within which limits; KONTOR_CONFIG names another file than the folder's."""
        named = os.environ.get(CONFIG_VARIABLE)
        return Path(named).absolute() if named else self.path / CONFIG_FILE

    def intervals(self, account: str) -> Mapping[str, timedelta]:
        """Updater to interval for each scheduled deployment of an account, as prefect.yaml has them."""
        found: dict[str, timedelta] = {}
        for entry in self._deployments():
            spans = [timedelta(seconds=seconds) for seconds in _intervals(entry)]
            if spans and account_of(*_identity(entry)) == account:
                name = updater_of(*_identity(entry))
                found[name] = min([*spans, found.get(name, spans[0])])
        return found

    def accounts(self) -> frozenset[str]:
        """The accounts that prefect.yaml has deployments for."""
        return frozenset(account_of(*_identity(entry)) for entry in self._deployments() if entry.get("name"))

    def entries(self) -> Sequence[ProjectEntry]:
        """Every deployment that has a name and a flow."""
        found = []
        for entry in self._deployments():
            pool = entry.get("work_pool")
            queue = pool.get("work_queue_name") if isinstance(pool, Mapping) else ""
            flow, name, parameters = _identity(entry)
            if flow and name:
                found.append(ProjectEntry(flow, name, str(entry["entrypoint"]), parameters, str(queue)))
        return found

    def _deployments(self) -> Iterator[Mapping[str, Any]]:
        # numpy and PyYAML, which `kontor --help` need not wait for.
        from kontor.config import read_yaml

        data = read_yaml(self.deployments_file)
        entries = data.get("deployments") if isinstance(data, Mapping) else None
        yield from (entry for entry in entries or [] if isinstance(entry, Mapping))


def deployed_accounts() -> Sequence[str]:
    """The accounts of the prefect.yaml found from here, by name; none while it cannot be read."""
    try:
        return sorted(Project.find().accounts())
    except ConfigError:
        return ()


def flow_name(entrypoint: str) -> str:
    """A flow's name from its module path: `flows.account.update_balance` is update-balance."""
    return entrypoint.replace(":", ".").rpartition(".")[2].replace("_", "-")


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """Flow, deployment and parameters of an entry."""
    parameters = entry.get("parameters")
    flow, name = flow_name(str(entry.get("entrypoint", ""))), str(entry.get("name", ""))
    return flow, name, parameters if isinstance(parameters, Mapping) else {}


def _intervals(entry: Mapping[str, Any]) -> list[float]:
    schedules = entry.get("schedules") or [entry.get("schedule")]
    given = [each.get("interval") for each in schedules if isinstance(each, Mapping) and each.get("active", True)]
    return [float(seconds) for seconds in given if isinstance(seconds, int | float)]
