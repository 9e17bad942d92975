"""The hook that every flow has on failure, on crash and on cancellation: one alert, with a link to the run."""

import logging
from datetime import UTC, datetime
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.utilities.urls import url_for

from kontor.notify import redact
from kontor.ports import Alert
from tasks.notifications import process_sender, settle_alerts

__all__ = ["alert", "process_sender"]

logger = logging.getLogger(__name__)

_REASON = 300
# What Prefect puts in front of the error's own words.
_PREFIXES = ("Flow run encountered an exception: ", "Finished in state ", "Task run encountered an exception: ")

_ENDINGS = {
    "Failed": "failed",
    "TimedOut": "ran out of time",
    "Crashed": "crashed",
    "Cancelling": "was canceled",
    "Cancelled": "was canceled",
}


_EVENTS = {
    "TimedOut": "flow.timed_out",
    "Crashed": "flow.crashed",
    "Cancelling": "flow.canceled",
    "Cancelled": "flow.canceled",
}
# A run that a person started and that the gate or the venue refused: its order is told, and its run says why.
REFUSED = "Refused"


async def alert(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell people that this run has ended badly; never raises, and waits only where the process ends with the run."""
    if state.name == REFUSED:
        return
    try:
        process_sender().notify(describe_run(flow, flow_run, state))
        await settle_alerts()
    except Exception as error:  # noqa: BLE001 - a hook that fails would hide the failure it reports
        logger.warning("no alert for run=%s: %s: %s", flow_run.name, type(error).__name__, redact(str(error)))


def describe_run(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> Alert:
    """The alert for one run: what failed, why in a sentence, after how many retries, and where to look."""
    name = state.name or state.type.value.title()
    retries = max(flow_run.run_count - 1, 0)
    fields = [("Run", flow_run.name), ("State", name), ("Retries", str(retries))]
    return Alert(
        title=f"{flow.name} {_verb(name)}",
        text=reason(state),
        # A warning, and no critical alert: updaters run again by themselves, and what halts trading says so itself.
        severity="info" if state.is_cancelled() or state.is_cancelling() else "warning",
        at=state.timestamp or datetime.now(UTC),
        account=str((flow_run.parameters or {}).get("account", "")),
        fields=tuple(fields),
        url=url_for("flow-run", obj_id=flow_run.id),
        event=_EVENTS.get(name, "flow.failed"),
    )


def reason(state: State[Any]) -> str:
    """Why, in one short line without traceback and secrets."""
    lines = [line.strip() for line in (state.message or "").splitlines() if line.strip()]
    told = lines[0] if lines else "No reason was given; see the run's logs."
    for prefix in _PREFIXES:
        told = told.removeprefix(prefix)
    told = redact(told)
    return told if len(told) <= _REASON else f"{told[: _REASON - 1]}…"


def _verb(state_name: str) -> str:
    return _ENDINGS.get(state_name, f"ended as {state_name}")
