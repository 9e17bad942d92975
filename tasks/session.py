"""Steps that touch the exchange session itself, and the gate before everything else."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from kontor import desk as gate
from kontor.desk import EXCHANGE_GENERATION, Desk
from kontor.resilience.breaker_state import ask_for_reset
from tasks.resources import Resources


@task(cache_policy=NO_CACHE)
async def renew_session(desk: Desk) -> int:
    """Build a new exchange session, then tell every process to do the same; returns the new generation.

    When the new session cannot be built the error is raised, the generation stays, and the old sessions go on working.
    """
    state = desk.store.desk
    current = await state.attribute(desk.account, EXCHANGE_GENERATION)
    generation = (int(current.value) if current else 0) + 1
    await Resources.here().restart_exchange(desk.account, generation)
    return await state.increment(desk.account, EXCHANGE_GENERATION, desk.clock.now())


@task(cache_policy=NO_CACHE)
async def reset_breakers(desk: Desk) -> None:
    """Close every circuit breaker of the account: here now, in the other processes when they open the desk next."""
    number = await ask_for_reset(desk.store.desk, desk.account, desk.clock.now())
    Resources.here().reset_breakers(desk.account, number)


@task(cache_policy=NO_CACHE)
async def open_gate(desk: Desk) -> None:
    """Let the updaters and the executor work."""
    await gate.open_gate(desk.store.desk, desk.account, desk.clock.now())


@task(cache_policy=NO_CACHE)
async def missing_capabilities(desk: Desk) -> tuple[str, ...]:
    """One sentence for each thing this exchange cannot do and the desk would use."""
    from kontor.exchange.capabilities import NEEDED

    return desk.exchange.profile.lacks(NEEDED)
