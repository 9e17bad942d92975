"""What prefect.yaml says when no server can be asked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from deployments.project import Project, flow_name
from kontor.errors import ConfigError

DEPLOYMENTS = """
deployments:
  - name: paper
    entrypoint: flows.account.update_balance
    schedules: [{interval: 30}, {interval: 20}, {interval: 5, active: false}]
  - name: paper
    entrypoint: flows.trade.place_order
  - name: other
    entrypoint: flows.account.update_balance
    schedules: [{interval: 99}]
  - name: paper
    entrypoint: flows.account.nightly
    schedules: [{cron: "0 0 * * *"}]
"""


def test_intervals_are_those_of_the_accounts_active_interval_schedules(tmp_path: Path) -> None:
    """The status of a stopped desk judges by them."""
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS)
    assert Project(tmp_path).intervals("paper") == {"update-balance": timedelta(seconds=20)}


def test_the_shipped_file_has_the_intervals_the_desk_is_known_for() -> None:
    """prefect.yaml is the only place of a frequency: if it loses one, nothing else would notice."""
    intervals = {name: span.total_seconds() for name, span in Project.find().intervals("paper").items()}
    assert intervals["update-tickers"] == 10
    assert intervals["update-balance"] == intervals["update-positions"] == intervals["update-open-orders"] == 30
    assert intervals["update-candles"] == 60
    assert intervals["check-system-status"] == intervals["restart-exchange"] == 300


def test_the_working_folder_comes_before_the_installed_packages(tmp_path: Path) -> None:
    """A user's own prefect.yaml is the one that is meant."""
    assert Project.find(tmp_path).path == Path(__file__).resolve().parents[3]
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    assert Project.find(tmp_path).path == tmp_path


def test_a_broken_prefect_yaml_is_one_sentence_with_its_line(tmp_path: Path) -> None:
    """`kontor status` reads it too."""
    (tmp_path / "prefect.yaml").write_text("deployments:\n  - name: [paper\n")
    with pytest.raises(ConfigError, match=r"prefect\.yaml line \d"):
        Project(tmp_path).intervals("paper")


@pytest.mark.parametrize("entrypoint", ["flows.account.update_balance", "flows/account.py:update_balance"])
def test_a_flow_is_named_after_its_function(entrypoint: str) -> None:
    """Both spellings Prefect knows."""
    assert flow_name(entrypoint) == "update-balance"
