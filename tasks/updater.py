"""Steps of the updaters that configuration defines: resolve the arguments, call, store the result under its name."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from kontor.desk import Desk
from kontor.errors import ConfigError, KontorError, NotNow, StepFailed
from kontor.updaters.calls import Call, find_call
from kontor.updaters.jsonable import bounded
from kontor.updaters.shared import CANDLES, WITHOUT_RANGE, check_target, resolve
from kontor.updaters.step import Step, reference
from tasks.updater_calls import StoredCandles, registry


async def take_steps(desk: Desk, steps: Sequence[Step], *, seconds: float) -> dict[str, Any]:
    """Take every step in order, each result stored before the next one begins; a short account of each, by name.

    Raises StepFailed naming the step that failed, or was at work when the time was up; earlier results stay.
    """
    told: dict[str, Any] = {}
    number, step = 0, None
    try:
        async with asyncio.timeout(seconds):
            for number, step in enumerate(steps, 1):
                told[step.target or step.call] = await take_step(desk, step, number)
    except NotNow:
        raise
    except TimeoutError:
        reason = f"not done within {seconds:g} s (timeout_seconds)"
        raise StepFailed(number, len(steps), step.call if step else "", reason) from None
    except KontorError as error:
        raise StepFailed(number, len(steps), step.call if step else "", str(error)) from None
    except Exception as error:
        # Somebody else's code: its traceback belongs in the log.
        reason = f"{type(error).__name__}: {error}"
        raise StepFailed(number, len(steps), step.call if step else "", reason) from error
    return told


@task(cache_policy=NO_CACHE, task_run_name="step {number}: {step.call}")
async def take_step(desk: Desk, step: Step, number: int) -> Any:
    """One step; returns what there is to say of its result."""
    del number
    call = find_call(registry()[0], step.call)
    if step.target is not None:
        check_target(step.target, call.fills)
    by_name = isinstance(step.args, dict)
    arguments = {name: await _value(desk, call, name, given) for name, given in call.bound(step).items()}
    asked_at = desk.clock.now()
    result = await (call.run(desk, **arguments) if by_name else call.run(desk, *arguments.values()))
    if step.target is not None:
        await _store(desk, step, call, result, asked_at)
    return _told(result)


@task(cache_policy=NO_CACHE)
async def forget_ranges(desk: Desk) -> None:
    """Let every symbol be a candidate again: which ones have no range is found out anew."""
    await desk.store.desk.set_attribute(desk.account, WITHOUT_RANGE, [], desk.clock.now())


async def _value(desk: Desk, call: Call, parameter: str, given: Any) -> Any:
    name = reference(given)
    if name is None:
        return call.converted(parameter, given)
    return await resolve(desk.store, desk.config, desk.account, name)


async def _store(desk: Desk, step: Step, call: Call, result: Any, at: datetime) -> None:
    target = str(step.target)
    if isinstance(result, StoredCandles):
        about = {"timeframe": result.timeframe, "limit": result.limit, "symbols": list(result.symbols)}
        value = {CANDLES: about, "failed": dict(result.failed)}
        await desk.store.desk.set_attribute(desk.account, target, value, at)
    elif target in call.fills:
        if call.keep is not None:
            await call.keep(desk, result)
    else:
        value = bounded(target, result)
        if step.merge and not isinstance(value, dict):
            raise ConfigError(f"{step.call} gives no object, so it cannot be merged by key; remove merge", where=target)
        await desk.store.desk.set_attribute(desk.account, target, value, at, merge=step.merge)


def _told(result: Any) -> Any:
    """A result in a few words: the run's own result is no place for a thousand tickers."""
    if isinstance(result, StoredCandles):
        return {"timeframe": result.timeframe, "symbols": len(result.symbols), "failed": dict(result.failed)}
    if isinstance(result, list | tuple | dict):
        return f"{len(result)} {'entries' if len(result) != 1 else 'entry'}"
    return str(result)[:200]
