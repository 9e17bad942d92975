"""Who of an account's processes may spend how much of its rate limit: what one leaves unused, the others have.

Pure. Every process keeps a row with what it needs and what it holds. It gives up at once what it should not have, and
takes only what nobody holds: however the rows are read and written, the shares never add up to more than the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kontor.resilience.rate_budget import Share

# A desk has two processes that reach the exchange: the share of one that is not there yet is kept for it.
EXPECTED = 2
# The least of the rate that each process holds, idle or not: its first order goes out while it asks for more.
FLOOR = 0.1
# All floors together leave at least half of the rate to those who need it.
FLOORS_AT_MOST = 0.5
# A process that has said nothing for so long holds its floor and no more: others may have the rest.
SILENT = timedelta(seconds=6)
# After this time it is gone.
REMEMBERED = timedelta(minutes=2)
# A process that has left holds nothing, but may have spent a bucket just now.
LEFT = timedelta(seconds=10)
# Needs are estimates: who had to wait needs all there is, who did not needs this much more than was spent.
HEADROOM = 1.5


@dataclass(frozen=True, slots=True)
class Needs:
    """What a process would spend, as shares of the limit: for orders, cancels and account, and for market data."""

    urgent: float = 0.0
    data: float = 0.0


@dataclass(frozen=True, slots=True)
class Holding:
    """One process's row: what it needs, and what it holds until it says otherwise or falls silent."""

    process: str
    at: datetime
    needs: Needs
    share: Share
    floor: float
    has_left: bool = False

    def held_at(self, now: datetime) -> Share:
        """What others must leave to it."""
        is_silent = now - self.at > SILENT
        return Share(min(self.share.rate, self.floor), self.share.burst) if is_silent else self.share


def remembered(rows: Sequence[Holding], now: datetime) -> list[Holding]:
    """Without those that are gone."""
    return [row for row in rows if now - row.at < (LEFT if row.has_left else REMEMBERED)]


def floor_of(count: int) -> float:
    """What each of so many processes holds at least."""
    return min(FLOOR, FLOORS_AT_MOST / max(count, EXPECTED))


def target_of(process: str, rows: Sequence[Holding], now: datetime) -> Share:
    """What `process` should hold, by what all need: floors first, then orders and account, then market data."""
    there = [row for row in remembered(rows, now) if not row.has_left]
    count = max(len(there), EXPECTED)
    floor = floor_of(count)
    # Who is silent has its floor, and needs nothing that could be told.
    needs = {row.process: row.needs if now - row.at <= SILENT else Needs() for row in there}
    rates = dict.fromkeys(needs, floor)
    spare = 1.0 - floor * count
    for wanted in (
        {name: need.urgent for name, need in needs.items()},
        {name: min(need.urgent + need.data, 1.0) for name, need in needs.items()},
        # What nobody needs now goes to all who are there: the next burst finds it.
        dict.fromkeys((row.process for row in there if now - row.at <= SILENT), 1.0),
    ):
        given = _fill(spare, {name: max(want - rates[name], 0.0) for name, want in wanted.items()})
        for name, more in given.items():
            rates[name] += more
        spare -= sum(given.values())
    return Share(rates.get(process, floor), 1.0 / count)


def taken_by(process: str, target: Share, held: Share, rows: Sequence[Holding], now: datetime) -> Share:
    """What `process` may hold from now on: less than before as it likes, more only of what nobody else holds."""
    others = [row.held_at(now) for row in remembered(rows, now) if row.process != process and not row.has_left]
    free_rate = 1.0 - sum(each.rate for each in others)
    free_burst = 1.0 - sum(each.burst for each in others)
    return Share(_within(target.rate, held.rate, free_rate), _within(target.burst, held.burst, free_burst))


def _within(target: float, held: float, free: float) -> float:
    return target if target <= held else max(held, min(target, free))


def _fill(spare: float, wants: Mapping[str, float]) -> dict[str, float]:
    """Hand out `spare`, the same to all, none more than it wants."""
    given: dict[str, float] = {}
    for number, (name, want) in enumerate(sorted(wants.items(), key=lambda item: item[1])):
        given[name] = min(want, max(spare, 0.0) / (len(wants) - number))
        spare -= given[name]
    return given
