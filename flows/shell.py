"""Running one flow of a module from a shell: `python -m flows.market_data update_tickers account=paper`."""

import inspect
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL

from kontor.errors import KontorError

# Set in the environment once the desk's settings are in it.
PREPARED = "KONTOR_RUN_PREPARED"


def run_named_flow(module: Mapping[str, Any]) -> None:
    """Run the module's flow named first on the command line with `key=value` parameters, and print its result.

    In a shell that names no Prefect server the running desk's is taken; without a desk, one for this run alone.
    """
    flows = {name: value for name, value in module.items() if isinstance(value, Flow)}
    name = sys.argv[1].replace("-", "_") if len(sys.argv) > 1 else next(iter(flows)) if len(flows) == 1 else ""
    if name not in flows:
        sys.exit(f"name one of these flows: {', '.join(sorted(flows))}")
    flow = flows[name]
    parameters = _parameters(flow, sys.argv[2:])
    if PREFECT_API_URL.value() is None and PREPARED not in os.environ:
        _begin_again(module["__spec__"].name)
    for handler in (
        handler
        for logger in ("prefect", "prefect.flow_runs", "prefect.task_runs")
        for handler in logging.getLogger(logger).handlers
    ):
        handler.addFilter(_without_traceback)
    state, result = anyio.run(_run, flow, parameters)
    if not state.is_completed():
        # Only the paper exchange is on this machine.
        is_paper_down = "http://127.0.0.1" in str(state.message) and "no connection" in str(state.message)
        remedy = "; the paper exchange runs while the desk does: 'kontor up' starts it" if is_paper_down else ""
        sys.exit(f"{flow.name}: {state.name}: {state.message}{remedy}")
    print(result if state.name == "Completed" else f"{state.name}: {state.message}")  # noqa: T201 - the shell asked


async def _run(flow: Any, parameters: Mapping[str, Any]) -> tuple[State[Any], Any]:
    state = await flow(**parameters, return_state=True)
    if not (state.is_completed() and state.name == "Completed"):
        return state, None
    result: Any = state.result(raise_on_failure=False)
    return state, await result if inspect.isawaitable(result) else result


def _parameters(flow: Flow[Any, Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Texts as they stand; lists and objects, such as an updater's steps, as JSON. Ends the program with a sentence."""
    known = inspect.signature(flow.fn).parameters
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            sys.exit("parameters are written key=value, such as account=paper")
        if key not in known:
            sys.exit(f"{flow.name} has no parameter {key}; it has {', '.join(known)}")
        found[key] = value
        if value.startswith(("[", "{")):
            try:
                found[key] = json.loads(value)
            except ValueError as error:
                sys.exit(f"{key}: not JSON ({error}); quote it for the shell")
    try:
        return flow.validate_parameters(found)
    except Exception as error:  # noqa: BLE001 - Prefect's and pydantic's own errors about parameters
        sys.exit(f"{flow.name}: {' '.join(str(error).split())}")


def _begin_again(module: str) -> None:
    """Start this program anew with the desk's settings; ends it with a sentence when there are none."""
    asked = [sys.executable, "-m", "deployments.cli", "env", "--for-run"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    if told.returncode:
        sys.exit(told.stderr.strip() or "the desk's settings cannot be read; 'kontor env' says why")
    environment = {**os.environ, **json.loads(told.stdout), PREPARED: "1"}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)  # noqa: S606 - ourselves


def _without_traceback(record: logging.LogRecord) -> bool:
    """Let our errors be one sentence in the log too; those of others keep their traceback."""
    if record.exc_info and isinstance(record.exc_info[1], KontorError):
        record.exc_info = record.exc_text = None
    return True
