"""Planned misbehavior: which requests go wrong, how, and how often; seeded, so that a run can be repeated."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FaultKind(StrEnum):
    """The ways in which the exchange can misbehave."""

    DELAY = "delay"
    HANG = "hang"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    HTTP_500 = "http_500"
    HTTP_502 = "http_502"
    HTTP_503 = "http_503"
    HTTP_429 = "http_429"
    HTML_200 = "html_200"
    TRUNCATED_JSON = "truncated_json"
    EMPTY_BODY = "empty_body"
    WRONG_CLOCK = "wrong_clock"
    WS_CLOSE = "ws_close"
    WS_DROP = "ws_drop"
    WS_SILENCE = "ws_silence"
    WS_GARBAGE = "ws_garbage"

    @property
    def on_websocket(self) -> bool:
        """Whether the fault befalls an open WebSocket rather than a request."""
        return self.startswith("ws_")


# When the request's own effect takes place: `before` the fault means it never does.
ALWAYS_BEFORE = {FaultKind.DROP_BEFORE, FaultKind.HTTP_429}
ALWAYS_AFTER = {FaultKind.DROP_AFTER, FaultKind.TRUNCATED_JSON, FaultKind.EMPTY_BODY, FaultKind.WRONG_CLOCK}
TIMED = {FaultKind.DELAY, FaultKind.WRONG_CLOCK}


class FaultRule(BaseModel):
    """One planned fault. Without `times` and `probability` it happens once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = "*"
    """A shell pattern over the whole path, such as `/api/v5/trade/*` or `/ws/v5/private`."""
    method: Literal["GET", "POST"] | None = None
    kind: FaultKind
    times: int | None = Field(default=None, ge=1)
    probability: float | None = Field(default=None, gt=0, le=1)
    seed: int = 0
    seconds: float | None = None
    """How long a delay, hang or silence lasts, a 429's Retry-After, how far off a wrong clock is (may be negative)."""
    when: Literal["before", "after"] | None = None
    """Whether the fault comes before the request is processed (it then never is, except after a delay) or after."""
    contains: str = ""
    """Only requests whose query or body contains this text, a client order id for instance."""

    @model_validator(mode="after")
    def _makes_sense(self) -> FaultRule:
        if self.kind in TIMED and self.seconds is None:
            raise ValueError(f"a fault of kind {self.kind} needs 'seconds'")
        if self.kind is not FaultKind.WRONG_CLOCK and self.seconds is not None and self.seconds < 0:
            raise ValueError(f"'seconds' of a {self.kind} cannot be negative")
        fixed = "before" if self.kind in ALWAYS_BEFORE else "after" if self.kind in ALWAYS_AFTER else None
        if self.when is not None and fixed is not None and self.when != fixed:
            raise ValueError(f"a fault of kind {self.kind} always comes {fixed} the request is processed")
        return self

    @property
    def processed(self) -> bool:
        """Whether the request has taken effect when the fault shows."""
        if self.when is not None:
            return self.when == "after"
        return self.kind in ALWAYS_AFTER or self.kind is FaultKind.HTML_200

    @property
    def limit(self) -> int | None:
        """How often it happens at most; None for always."""
        return 1 if self.times is None and self.probability is None else self.times


@dataclass(slots=True)
class PlannedFault:
    """A rule at work."""

    id: int
    rule: FaultRule
    hits: int = 0
    seen: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.rule.seed)

    @property
    def spent(self) -> bool:
        """Whether it has happened as often as it may."""
        return self.rule.limit is not None and self.hits >= self.rule.limit

    def fires(self) -> bool:
        """Whether this opportunity is one; counts it if so."""
        if self.spent:
            return False
        self.seen += 1
        # The dice are thrown for every opportunity, so that the same seed hits the same ones.
        if self.rule.probability is not None and self.dice.random() >= self.rule.probability:
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, object]:
        """The rule with what has come of it, for the admin endpoint."""
        return {"id": self.id, "hits": self.hits, "seen": self.seen, **self.rule.model_dump(mode="json")}


class FaultPlan:
    """All planned faults, in the order they were added; the first that fires wins."""

    def __init__(self) -> None:
        self._faults: dict[int, PlannedFault] = {}
        self._ids = itertools.count(1)

    def add(self, rule: FaultRule) -> PlannedFault:
        """Plan a fault."""
        planned = PlannedFault(next(self._ids), rule)
        self._faults[planned.id] = planned
        return planned

    def remove(self, fault_id: int | None = None) -> int:
        """Drop one fault, or all; how many were dropped."""
        if fault_id is None:
            count = len(self._faults)
            self._faults.clear()
            return count
        return int(self._faults.pop(fault_id, None) is not None)

    def as_json(self) -> list[dict[str, object]]:
        """Every rule with its counts."""
        return [planned.as_json() for planned in self._faults.values()]

    def for_request(self, method: str, path: str, text: str) -> FaultRule | None:
        """The fault that befalls this request; `text` is its query and body."""
        return self._first(method, path, text, on_websocket=False)

    def for_socket(self, path: str) -> FaultRule | None:
        """The fault that befalls an open WebSocket at this moment."""
        return self._first("GET", path, "", on_websocket=True)

    @property
    def any_on_sockets(self) -> bool:
        """Whether sockets need to ask at all."""
        return any(fault.rule.kind.on_websocket and not fault.spent for fault in self._faults.values())

    def _first(self, method: str, path: str, text: str, *, on_websocket: bool) -> FaultRule | None:
        for planned in self._faults.values():
            rule = planned.rule
            if (
                rule.kind.on_websocket == on_websocket
                and rule.method in {None, method}
                and fnmatchcase(path, rule.path)
                and (not rule.contains or rule.contains in text)
                and planned.fires()
            ):
                return rule
        return None
