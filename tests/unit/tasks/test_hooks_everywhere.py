"""Every deployed flow tells people when it ends badly, in each of the three ways it can."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow

from tasks.hooks import alert

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[3] / "prefect.yaml").read_text())["deployments"]
ENTRYPOINTS = sorted({each["entrypoint"] for each in DEPLOYMENTS})


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_a_flow_that_fails_crashes_or_is_canceled_is_told(entrypoint: str) -> None:
    """A stream that somebody cancels by mistake is silent otherwise; a new flow easily forgets one of the three."""
    module, name = entrypoint.rsplit(".", 1)
    flow: Flow[Any, Any] = getattr(import_module(module), name)
    assert alert in (flow.on_failure_hooks or [])
    assert alert in (flow.on_crashed_hooks or [])
    assert alert in (flow.on_cancellation_hooks or [])
