"""The figures of a running desk: every process can be asked, and an order leaves its latency behind."""

from __future__ import annotations

import re

import httpx
import pytest

from deployments.metrics.endpoint import targets
from tests.support.desk import RunningDesk, wait_until

pytestmark = pytest.mark.timeout(600)


def figure(text: str, name: str, **labels: str) -> float:
    """A sample's value, -1 while there is none."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(each in line for each in wanted):
            return float(line.rpartition(" ")[2])
    return -1.0


def test_every_process_of_a_desk_serves_its_figures_and_one_command_has_them_all(desk: RunningDesk) -> None:
    """What Prometheus is pointed at, by file or by address."""
    found = {each.process: each for each in targets(desk.home.metrics)}
    assert set(found) == {"desk", "orders", "updates"}
    for process in ("orders", "updates"):
        text = httpx.get(found[process].url, timeout=30, trust_env=False).text
        assert figure(text, "kontor_rate_budget_tokens", account="paper") > 0, process
        assert figure(text, "kontor_breaker_state", breaker="okx orders") == 0, process
        assert re.search(r'kontor_run_lateness_seconds_count\{deployment="paper",flow="[a-z-]+"\} [1-9]', text), process

    order = {"symbol": "LTC/USD", "side": "buy", "quantity": 0.1, "order_type": "market"}
    assert desk.run("place-order/paper", **order)["state_type"] == "COMPLETED"

    def all_figures() -> str:
        output = desk.kontor("metrics", "--once")
        assert output.returncode == 0, output.stderr
        return output.stdout

    wait_until(lambda: figure(all_figures(), "kontor_order_ack_seconds_count", account="paper") >= 1, 60, "a latency")
    text = all_figures()
    for process in found:
        assert figure(text, "kontor_process_up", process=process) == 1
    assert figure(text, "kontor_runs_total", flow="place-order", state="Completed", process="orders") >= 1
    assert figure(text, "kontor_equity", account="paper", process="desk") > 0
    assert text.count("# TYPE kontor_runs_total counter") == 1
    assert figure(text, "process_resident_memory_bytes", process="orders") > 0
