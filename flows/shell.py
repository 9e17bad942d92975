"""Running one flow of a module from a shell: `python -m flows.market_data update_tickers account=paper`."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from prefect import Flow

from kontor.errors import KontorError


def run_named_flow(module: Mapping[str, Any]) -> None:
    """Run the module's flow named first on the command line with `key=value` parameters, and print its result."""
    flows = {name: value for name, value in module.items() if isinstance(value, Flow)}
    name = sys.argv[1] if len(sys.argv) > 1 else next(iter(flows)) if len(flows) == 1 else ""
    if name not in flows:
        sys.exit(f"name one of these flows: {', '.join(sorted(flows))}")
    pairs = [argument.partition("=") for argument in sys.argv[2:]]
    if any(not sign for _, sign, _ in pairs):
        sys.exit("parameters are written key=value, such as account=paper")
    try:
        print(asyncio.run(flows[name](**{key: value for key, _, value in pairs})))  # noqa: T201 - the shell asked for it
    except KontorError as error:
        sys.exit(str(error))
