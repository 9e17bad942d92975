"""What an account is worth and by how much that has changed; pure. Money that came or left is no gain and no loss."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

_NOTHING = Decimal(0)
# Venues list a transfer for so long; later it is not counted a second time either, for nobody sees it any more.
REMEMBERED = timedelta(hours=52)
_REFRESHED = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Change:
    """A gain, or a loss when negative, against what was put in."""

    money: Decimal
    base: Decimal

    @property
    def percent(self) -> Decimal | None:
        """Of what was put in; None when more has been taken out than that."""
        return self.money / self.base * 100 if self.base > 0 else None

    def words(self, currency: str) -> str:
        """Such as `+100.00 USD (+10.00 %)`."""
        percent = "" if self.percent is None else f" ({self.percent:+.2f} %)"
        return f"{self.money:+,.2f} {currency}{percent}"


@dataclass(frozen=True, slots=True)
class Move:
    """Money that came (positive) or left, in the capital currency: when it was seen first, and when last."""

    value: Decimal
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an account was worth in the beginning, and what was transferred since; the latest `moves` by name."""

    equity: Decimal
    moved: Decimal = _NOTHING
    moves: Mapping[str, Move] = field(default_factory=dict)

    def seen(self, moves: Mapping[str, Decimal], now: datetime) -> Self:
        """The same after a look that found these transfers; each counts once, by its name."""
        kept = {name: each for name, each in self.moves.items() if now - each.last_at <= REMEMBERED}
        new = {name: Move(value, now, now) for name, value in moves.items() if name not in kept}
        again = {name: replace(kept[name], last_at=now) for name in moves if name in kept}
        moved = self.moved + sum((each.value for each in new.values()), _NOTHING)
        return replace(self, moved=moved, moves={**kept, **again, **new})

    def has_seen(self, moves: Collection[str], now: datetime) -> bool:
        """All of these transfers, and lately enough that noting it again can wait."""
        return all(name in self.moves and now - self.moves[name].last_at <= _REFRESHED for name in moves)

    def moved_since(self, at: datetime) -> Decimal:
        """What was transferred after a moment of the last day."""
        return sum((each.value for each in self.moves.values() if each.first_at > at), _NOTHING)

    def to_json(self) -> dict[str, Any]:
        """For the store, exact."""
        moves = {
            name: [str(each.value), each.first_at.isoformat(), each.last_at.isoformat()]
            for name, each in sorted(self.moves.items())
        }
        return {"equity": str(self.equity), "moved": str(self.moved), "moves": moves}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        moves = {
            name: Move(Decimal(worth), datetime.fromisoformat(first), datetime.fromisoformat(last))
            for name, (worth, first, last) in value["moves"].items()
        }
        return cls(Decimal(value["equity"]), Decimal(value["moved"]), moves)


@dataclass(frozen=True, slots=True)
class Capital:
    """What an account is worth in its capital currency: profit that is open included, coins at their price.

    `unpriced` coins count nothing. `day_start` is what the day's loss is counted from, transfers contained.
    """

    currency: str
    equity: Decimal
    at: datetime
    unpriced: frozenset[str] = frozenset()
    beginning: Beginning | None = None
    day_start: Decimal | None = None

    @property
    def gain(self) -> Change | None:
        """Since the beginning; None while that is not known."""
        if self.beginning is None:
            return None
        put_in = self.beginning.equity + self.beginning.moved
        return Change(self.equity - put_in, put_in)

    @property
    def day_gain(self) -> Change | None:
        """Of this trading day, as `max_daily_loss` counts it; None until monitor-risk has seen the day."""
        return None if self.day_start is None else Change(self.equity - self.day_start, self.day_start)

    def since(self, equity: Decimal, at: datetime) -> Change:
        """Since a moment of the last day at which the account was worth that."""
        put_in = equity + (self.beginning.moved_since(at) if self.beginning is not None else _NOTHING)
        return Change(self.equity - put_in, put_in)
