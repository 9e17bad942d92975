"""The project folder: where prefect.yaml and kontor.yaml are, and what the former says while no server can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from kontor.errors import ConfigError

DEPLOYMENTS_FILE = "prefect.yaml"
CONFIG_FILE = "kontor.yaml"


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
        """What is traded and within which limits."""
        return self.path / CONFIG_FILE

    def intervals(self, account: str) -> Mapping[str, timedelta]:
        """Flow name to interval for each scheduled deployment of an account, as prefect.yaml has them."""
        found = {}
        for entry in self._deployments():
            spans = [timedelta(seconds=seconds) for seconds in _intervals(entry)]
            if entry.get("name") == account and spans:
                found[flow_name(str(entry.get("entrypoint", "")))] = min(spans)
        return found

    def accounts(self) -> frozenset[str]:
        """The accounts that prefect.yaml has deployments for: a deployment is named like its account."""
        return frozenset(str(entry["name"]) for entry in self._deployments() if entry.get("name"))

    def _deployments(self) -> Iterator[Mapping[str, Any]]:
        # numpy and PyYAML, which `kontor --help` need not wait for.
        from kontor.config import read_yaml

        data = read_yaml(self.deployments_file)
        entries = data.get("deployments") if isinstance(data, Mapping) else None
        yield from (entry for entry in entries or [] if isinstance(entry, Mapping))


def flow_name(entrypoint: str) -> str:
    """A flow's name from its module path: `flows.account.update_balance` is update-balance."""
    return entrypoint.replace(":", ".").rpartition(".")[2].replace("_", "-")


def _intervals(entry: Mapping[str, Any]) -> list[float]:
    schedules = entry.get("schedules") or [entry.get("schedule")]
    given = [each.get("interval") for each in schedules if isinstance(each, Mapping) and each.get("active", True)]
    return [float(seconds) for seconds in given if isinstance(seconds, int | float)]
