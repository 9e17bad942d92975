"""What `kontor up` says while it works: to its terminal or log, and to the `kontor up --detach` that waits for it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO

from rich.console import Console

from deployments.json_logs import as_line, wants_json
from kontor.errors import KontorError

PIPE_VARIABLE = "KONTOR_PROGRESS_FD"

console = Console(soft_wrap=True, markup=False, highlight=False)


class Progress:
    """Takes sentences; a detached desk logs them and passes them on as lines of JSON until it is up."""

    def __init__(self, pipe: IO[str] | None) -> None:
        self._pipe = pipe
        self._as_json = wants_json()

    @property
    def is_detached(self) -> bool:
        """Whether somebody waits for this process to become a desk."""
        return self._pipe is not None

    def say(self, text: str) -> None:
        """Tell something that happened."""
        if self._as_json:
            print(as_line("kontor.up", text), flush=True)  # noqa: T201
        elif sys.stdout.isatty():
            console.print(text)
        else:
            # Into a log or a pipe: one line with its moment, flushed, whatever the width.
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)  # noqa: T201
        self._pass_on(say=text)

    def ready(self) -> None:
        """The desk is up; nobody waits any longer."""
        self._pass_on(ready=True)

    def failed(self, error: KontorError) -> None:
        """The desk will not come up."""
        self._pass_on(error=str(error))

    def _pass_on(self, **message: object) -> None:
        if self._pipe is not None and not self._pipe.closed:
            # Who waited may have been killed; the desk goes on.
            with suppress(BrokenPipeError):
                self._pipe.write(json.dumps(message) + "\n")
                self._pipe.flush()


@contextmanager
def progress() -> Iterator[Progress]:
    """The way to report for this process; a KontorError that passes through is reported too."""
    descriptor = os.environ.pop(PIPE_VARIABLE, None)
    pipe = os.fdopen(int(descriptor), "w", encoding="utf-8") if descriptor else None
    told = Progress(pipe)
    try:
        yield told
    except KontorError as error:
        told.failed(error)
        raise
    finally:
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
