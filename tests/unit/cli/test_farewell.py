"""The end of a desk that cancels its orders: what is asked of the shutdown, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from deployments import farewell
from deployments.prefect_api import Deployment, Run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHUTDOWN = Deployment("1", "shutdown", "paper", None, {"account": "paper"})


class Api:
    """A server on which every run ends at once, in this state."""

    def __init__(self, state: str, message: str = "") -> None:
        self.state, self.message = state, message
        self.asked: dict[str, Any] = {}

    async def start_run(self, deployment: Deployment, *, key: str, parameters: dict[str, Any]) -> Run:
        """Note what is asked."""
        assert (deployment, bool(key)) == (SHUTDOWN, True)
        self.asked = parameters
        return Run("2", "run", self.state, self.state.title(), self.message, NOW, NOW)


async def test_a_shutdown_is_over_before_the_desk_stops_waiting_for_it() -> None:
    """It may take three and a half times its wait; cut off before, it could not say which orders it has left."""
    api, said = Api("COMPLETED"), list[str]()
    await farewell._cancel_through(api, SHUTDOWN, said.append)  # pyright: ignore[reportArgumentType]
    assert api.asked["cancel_orders"] is True
    assert 3.5 * api.asked["wait_seconds"] < farewell.LIMIT.total_seconds()
    assert said == ["canceling the open orders of paper"]


@pytest.mark.parametrize("state", ["FAILED", "RUNNING"])
async def test_orders_that_may_still_rest_are_said(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops the desk has to know what goes on without it."""
    monkeypatch.setattr(farewell, "LIMIT", farewell.LIMIT * 0)
    api, said = Api(state, "2 orders are still open"), list[str]()
    await farewell._cancel_through(api, SHUTDOWN, said.append)  # pyright: ignore[reportArgumentType]
    assert "open orders may still rest at the venue; 2 orders are still open" in said[-1]
