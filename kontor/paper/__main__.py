"""`python -m kontor.paper`: the paper exchange on its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from kontor.paper.server import CannotStart, run_paper
from kontor.paper.settings import PaperSettings, default_home


def parser() -> argparse.ArgumentParser:
    """The options there are; their defaults are those of PaperSettings."""
    fields = PaperSettings.model_fields
    options = argparse.ArgumentParser(prog="kontor paper", description="An OKX v5 exchange with play money.")
    options.add_argument("--host", default=fields["host"].default, help="address to listen on")
    options.add_argument("--port", type=int, default=fields["port"].default, help="0 takes any free port")
    options.add_argument("--markets", type=int, default=fields["markets"].default, help="how many instruments")
    options.add_argument("--seed", type=int, default=fields["seed"].default, help="seed of the synthetic prices")
    options.add_argument(
        "--source", default=fields["source"].default, help="synthetic, or replay:DIR; live prices by `kontor paper`"
    )
    options.add_argument("--speed", type=float, default=fields["speed"].default, help="clock speed factor")
    options.add_argument("--rtt-ms", type=float, default=fields["rtt_ms"].default, help="simulated round trip")
    options.add_argument(
        "--rate-limit-factor",
        type=float,
        default=fields["rate_limit_factor"].default,
        help="multiplies the rate limits; 0 switches them off",
    )
    options.add_argument(
        "--price-tick-ms", type=int, default=fields["price_tick_ms"].default, help="how often prices move"
    )
    options.add_argument("--no-persist", action="store_true", help="forget everything at the end")
    options.add_argument("--home", type=Path, default=default_home(), help="folder for the state file")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; the exit code."""
    given = vars(parser().parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        settings = PaperSettings(persist=not given.pop("no_persist"), **given)
        asyncio.run(run_paper(settings))
    except ValidationError as error:
        for item in error.errors():
            option = "--" + "-".join(str(part) for part in item["loc"]).replace("_", "-")
            print(f"kontor paper: {option}: {item['msg']}", file=sys.stderr)  # noqa: T201
        return 2
    except CannotStart as error:
        print(f"kontor paper: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
