"""What a campaign deals out, what has become of it, and the command line that says so."""

import argparse
from dataclasses import dataclass, field, fields

from tests.chaos.books import Verdict


@dataclass(frozen=True)
class Plan:
    """How much of everything, at least; a campaign ends when all of it has happened."""

    orders: int
    seed: int
    kills: int
    faults: int
    venue_restarts: int
    stops: int
    orders_per_second: float = 3.0
    # How long an executor works, on average, before it is killed.
    seconds_of_work: float = 1.2
    seconds_per_fault: float = 0.4
    seconds_between_venue_restarts: tuple[float, float] = (10.0, 25.0)


@dataclass
class Tally:
    """What has happened so far."""

    orders: int = 0
    kills: int = 0
    faults: int = 0
    venue_restarts: int = 0
    stops: int = 0
    # Orders that the venue has: a campaign whose orders never get there proves nothing.
    at_venue: int = 0
    fills: int = 0
    seconds: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        done = f"orders={self.orders} kills={self.kills} faults={self.faults}"
        more = f"stops={self.stops} venue_restarts={self.venue_restarts}"
        venue = f"at_venue={self.at_venue} fills={self.fills}"
        return f"{done} {self.verdict.figures} {more} {venue} seconds={self.seconds:.0f}"

    def add(self, other: "Tally") -> None:
        """Count another desk's campaign in; they ran side by side."""
        for name in ("orders", "kills", "faults", "venue_restarts", "stops", "at_venue", "fills"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds = max(self.seconds, other.seconds)
        for each in fields(Verdict):
            getattr(self.verdict, each.name).extend(getattr(other.verdict, each.name))


@dataclass(frozen=True)
class Options:
    """What the command line asks for: one plan per desk."""

    plans: tuple[Plan, ...]
    under_prefect: bool


def read_options(arguments: list[str] | None = None) -> Options:
    """The options on the command line."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos.campaign")
    options.add_argument("--orders", type=int, default=1000, help="at least so many orders")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--kills", type=int, help="default: as many as orders")
    options.add_argument("--faults", type=int, help="default: as many as orders")
    options.add_argument(
        "--desks", type=int, help="so many side by side, each with its share; default: 2, or 1 whole desk"
    )
    options.add_argument(
        "--prefect", action="store_true", help="kill the worker of a whole desk instead of bare executors"
    )
    given = options.parse_args(arguments)
    desks = max(given.desks or (1 if given.prefect else 2), 1)
    kills = given.orders if given.kills is None else given.kills
    faults = given.orders if given.faults is None else given.faults
    plans = tuple(
        plan_for(
            orders=_share(given.orders, desks),
            kills=_share(kills, desks),
            faults=_share(faults, desks),
            seed=given.seed * 100 + number,
            under_prefect=given.prefect,
        )
        for number in range(desks)
    )
    return Options(plans, given.prefect)


def plan_for(*, orders: int, kills: int, faults: int, seed: int, under_prefect: bool) -> Plan:
    """A plan with as many restarts of the venue and stopped processes as go with its kills."""
    if under_prefect:
        return Plan(
            orders=orders,
            seed=seed,
            kills=kills,
            faults=faults,
            venue_restarts=max(kills // 10, 1),
            # A worker that is stopped is killed by nobody: its supervisor only sees whether it runs.
            stops=max(kills // 10, 1),
            orders_per_second=0.7,
            # Proof of absence takes the venue's ten seconds here: less work than that would never finish any.
            seconds_of_work=6.0,
            seconds_per_fault=2.0,
            seconds_between_venue_restarts=(60.0, 180.0),
        )
    return Plan(
        orders=orders,
        seed=seed,
        kills=kills,
        faults=faults,
        venue_restarts=max(kills // 25, 1),
        stops=max(kills // 20, 2),
    )


def _share(total: int, desks: int) -> int:
    return -(-total // desks)
