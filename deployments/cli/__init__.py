"""The console script `kontor`: a desk's comings and goings, its status, and the paper exchange on its own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError
from rich.console import Console

from deployments.cli import (
    config,
    doctor,
    env,
    importing,
    ledger,
    lifecycle,
    live,
    metrics,
    orders,
    paper,
    replay,
    run,
    shared,
    status,
    up,
    web,
)
from deployments.json_logs import VARIABLE, as_line
from kontor.errors import KontorError

FAILED, MISUSED, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141

app = App(
    name="kontor",
    help="Trading operations as Prefect flows: one command brings the desk up, one tells how it is.",
    version=lambda: version("kontor"),
    # Errors become one sentence in main(), whatever the command.
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
app.command(up.up)
app.command(up.down)
app.command(status.status)
app.command(env.env)
app.command(run.run)
app.command(shared.get)
app.command(shared.updaters)
app.command(paper.paper)
app.command(web.web)
app.command(doctor.doctor)
app.command(metrics.metrics)
app.command(lifecycle.backup)
app.command(lifecycle.restore)
app.command(lifecycle.upgrade)
app.command(lifecycle.systemd)
app.command(replay.replay)
app.command(ledger.ledger)
app.command(live.live)
app.command(orders.app)
app.command(config.app)
app.command(importing.import_, name="import")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 it could not be done, 2 it was not understood."""
    try:
        return app(sys.argv[1:] if arguments is None else list(arguments)) or 0
    except CycloptsError as error:
        _complain(_sentence(error))
        return MISUSED
    except KontorError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _complain(sentence: str) -> None:
    if not sys.stderr.isatty() and os.environ.get(VARIABLE) == "json":
        print(as_line("kontor", sentence, logging.ERROR), file=sys.stderr, flush=True)  # noqa: T201
        return
    # Not through a table of styles: a sentence may hold square brackets, and a log line is not to be wrapped.
    Console(stderr=True, soft_wrap=True, markup=False, highlight=False).print(f"kontor: {sentence}")


def _sentence(error: CycloptsError) -> str:
    return " ".join(str(error).split()) + " (see 'kontor --help')"
