"""A process that decides for one strategy: jobs come in on standard input, answers go out on what was standard output.

The strategy is imported, made and asked for its needs here, and nowhere else on a desk. It holds no key, no store
and no connection. When its parent ends, its input ends, and so does it.
"""

import contextlib
import os
import pickle
import signal
import struct
import sys
import traceback
from typing import BinaryIO

from kontor.config import StrategySettings
from kontor.errors import ConfigError
from kontor.strategies.protocol import Strategy
from kontor.strategies.registry import build, need_of
from kontor.strategies.view import MarketView

LENGTH = struct.Struct(">Q")
NICENESS = 10
# A child whose parent is gone and whose strategy burns CPU is ended by its own alarm.
_ALARM_FACTOR, _ALARM_AIR = 2.0, 5.0
_START_ALARM_SECONDS = 60.0


def main() -> None:
    """Answer until the input ends: first the settings are loaded, then each view is decided."""
    # Whatever a strategy prints goes to the log, not between our frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = sys.stdin.buffer
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    settings: StrategySettings = pickle.loads(_read(jobs))  # noqa: S301 - our own parent's words
    strategy, answer = _made(settings)
    _write(answers, answer)
    if strategy is None:
        return
    while frame := _read(jobs):
        _write(answers, _decide(strategy, pickle.loads(frame), settings.timeout_seconds))  # noqa: S301 - likewise


def _made(settings: StrategySettings) -> tuple[Strategy | None, tuple[str, object]]:
    """The strategy and what it needs; or None and what is wrong."""
    signal.setitimer(signal.ITIMER_REAL, _START_ALARM_SECONDS)
    try:
        strategy = build(settings)
        return strategy, ("ready", need_of(strategy))
    except ConfigError as error:
        return None, ("wrong", (error.where, error.problem))
    except BaseException as error:  # noqa: BLE001 - the parent must hear of it
        return None, ("failed", f"cannot be made ({type(error).__name__}: {error})")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _decide(strategy: Strategy, view: MarketView, seconds: float) -> tuple[str, object]:
    signal.setitimer(signal.ITIMER_REAL, seconds * _ALARM_FACTOR + _ALARM_AIR)
    try:
        return "decided", strategy.decide(view)
    except BaseException as error:  # noqa: BLE001 - likewise
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "failed", f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"  # noqa: PTH119
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _read(source: BinaryIO) -> bytes:
    header = source.read(LENGTH.size)
    return source.read(LENGTH.unpack(header)[0]) if len(header) == LENGTH.size else b""


def _write(target: BinaryIO, answer: tuple[str, object]) -> None:
    try:
        frame = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - pickle raises anything
        frame = pickle.dumps(("failed", f"its decision cannot be passed on ({error!r})"))
    target.write(LENGTH.pack(len(frame)) + frame)
    target.flush()


if __name__ == "__main__":
    main()
