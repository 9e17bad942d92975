"""The steps in prefect.yaml: what they call, with which arguments, what they refer to and what they write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployments.checking.entries import INITIALIZE, Entry
from kontor.config import Document, KontorConfig, Problem
from kontor.errors import ConfigError
from kontor.updaters.calls import Call, find_call
from kontor.updaters.shapes import ANYTHING, Shapes, fits, shapes_of, shapes_of_value, spelled
from kontor.updaters.shared import RESERVED, SETTINGS, TYPED, check_target, nearest
from kontor.updaters.step import Step, nested_reference, reference

# What the shipped flows write, under the names others refer to it by.
WRITTEN_BY: Mapping[str, Collection[str]] = {
    "update-watchlist": {"watchlist"},
    "update-tickers": {"last_price", "tickers"},
    "update-candles": {"ohlcs"},
    "update-ranges": {"ranges"},
    "update-balance": {"balance", "total_capital", "free_capital"},
    "update-positions": {"positions"},
    "update-open-orders": {"open_orders"},
}
SYMBOL_PARAMETERS = frozenset({"symbol", "symbols"})
Place = tuple[str | int, ...]


@dataclass
class StepChecker:
    """Checks the steps of one file against callables, shared names, kontor.yaml, and known markets by account."""

    document: Document
    entries: Sequence[Entry]
    config: KontorConfig
    calls: Mapping[str, Call]
    markets: Mapping[str, Collection[str]]
    _produced: dict[str, dict[str, Shapes]] = field(default_factory=lambda: defaultdict(dict))

    def problems(self) -> Iterator[Problem]:
        """Everything wrong with the steps, in the order of the file."""
        for entry in self.entries:
            for step in entry.steps.values():
                if step.target is not None:
                    self._note(entry.account, step)
        for entry in self.entries:
            earlier: set[str] = set()
            for number, step in entry.steps.items():
                yield from self._check(entry, (*entry.path, "parameters", "steps", number), step, earlier)
                if step.target is not None:
                    earlier.add(step.target)

    def _note(self, account: str, step: Step) -> None:
        call = self.calls.get(step.call)
        known = self._produced[account]
        shapes = shapes_of(call.returns) if call is not None else ANYTHING
        known[str(step.target)] = known.get(str(step.target), frozenset()) | shapes

    def _check(self, entry: Entry, place: Place, step: Step, earlier: Collection[str]) -> Iterator[Problem]:
        try:
            call = find_call(self.calls, step.call)
        except ConfigError as error:
            yield self.document.problem((*place, "call"), str(error))
            return
        if step.target is not None:
            try:
                check_target(step.target, call.fills)
            except ConfigError as error:
                yield self.document.problem((*place, "target"), str(error))
        elif step.merge:
            yield self.document.problem((*place, "merge"), "has nothing to merge into; add a target")
        try:
            bound = call.bound(step)
        except ConfigError as error:
            yield self.document.problem((*place, "args"), str(error))
            return
        by_name = isinstance(step.args, dict)
        for position, (parameter, given) in enumerate(bound.items()):
            where = (*place, "args", parameter if by_name else position)
            yield from self._check_argument(entry, where, call, parameter, given, earlier)

    def _check_argument(
        self, entry: Entry, place: Place, call: Call, parameter: str, given: Any, earlier: Collection[str]
    ) -> Iterator[Problem]:
        name = reference(given)
        if name is not None:
            yield from self._check_reference(entry, place, call, parameter, name, earlier)
            return
        hidden = nested_reference(given)
        if hidden is not None:
            yield self.document.problem(place, f"{hidden} stands inside a list or object; let it be the whole argument")
            return
        try:
            value = call.converted(parameter, given)
        except ConfigError as error:
            yield self.document.problem(place, f"{error}; mend the argument")
            return
        markets = self.markets.get(entry.account)
        if parameter in SYMBOL_PARAMETERS and markets:
            for symbol in [value] if isinstance(value, str) else value or ():
                if symbol not in markets:
                    yield self.document.problem(place, unknown_symbol(symbol, markets))

    def _check_reference(
        self, entry: Entry, place: Place, call: Call, parameter: str, name: str, earlier: Collection[str]
    ) -> Iterator[Problem]:
        shapes = self._shapes(entry, name, earlier)
        if shapes is None:
            if entry.flow_name == INITIALIZE and (name in TYPED or name in self._produced[entry.account]):
                sentence = f"nothing has written {name} before this step; put the step that does before it"
            else:
                known = {**TYPED, **SETTINGS, **self.config.attributes, **self._produced[entry.account]}
                hint = nearest(name, known) or "let a step have it as target, or add it to attributes in kontor.yaml"
                sentence = f"no updater writes {name}; {hint}"
            yield self.document.problem(place, sentence)
        elif not fits(shapes, wanted := shapes_of(call.annotation(parameter))):
            sentence = f"{parameter} of {call.name} is {spelled(wanted)}, but {name} is {spelled(shapes)}"
            yield self.document.problem(place, f"{sentence}; refer to another name")

    def _shapes(self, entry: Entry, name: str, earlier: Collection[str]) -> Shapes | None:
        """What is known under a name when the step runs; None when nothing can be."""
        if name in SETTINGS:
            return SETTINGS[name][1]
        produced = self._produced[entry.account].get(name)
        # initialize is the first to run: of what updaters write there is nothing then.
        if entry.flow_name != INITIALIZE or name in earlier:
            if name in TYPED:
                return TYPED[name].shapes
            if produced is not None:
                return produced
        if name in self.config.attributes:
            return shapes_of_value(self.config.attributes[name])
        return None


def double_writers(document: Document, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Two deployments that write one name: each would undo what the other did, unless both merge."""
    writers: dict[tuple[str, str], tuple[Entry, bool]] = {}
    for entry in entries:
        # Nothing else runs while the account is initialized.
        if entry.flow_name == INITIALIZE:
            continue
        own: dict[str, tuple[Place, bool]] = dict.fromkeys(
            WRITTEN_BY.get(entry.flow_name, ()), ((*entry.path, "entrypoint"), False)
        )
        for number, step in entry.steps.items():
            if step.target is not None:
                own[step.target] = ((*entry.path, "parameters", "steps", number, "target"), step.merge)
        for name, (place, merges) in sorted(own.items()):
            other, other_merges = writers.setdefault((entry.account, name), (entry, merges))
            if other is not entry and not (merges and other_merges):
                line = document.line(other.path)
                sentence = (
                    f"{name} is written by {other.full_name} (line {line}) too; remove one, or choose another name"
                )
                yield document.problem(place, sentence)


def shadowing_attributes(document: Document, config: KontorConfig) -> Iterator[Problem]:
    """Start values in kontor.yaml that nobody would ever see."""
    for name in config.attributes:
        if name in RESERVED or name in TYPED or name in SETTINGS:
            about = TYPED[name].about if name in TYPED else "the desk's own"
            yield document.problem(("attributes", name), f"{name} has a meaning already ({about}); choose another name")


def unknown_symbol(symbol: str, markets: Collection[str]) -> str:
    """The sentence for a symbol the venue does not have."""
    hint = nearest(symbol, dict.fromkeys(markets))
    return f"{symbol} is not a market of this exchange; {hint or 'remove it or mend its spelling'}"
