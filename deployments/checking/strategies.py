"""The strategies of kontor.yaml, held against their code: can each be found and made, does its symbol exist."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping

from deployments.checking.updaters import unknown_symbol
from kontor.config import Document, KontorConfig, Problem, StrategySettings
from kontor.errors import ConfigError
from kontor.strategies.registry import build, need_of


def strategy_problems(
    document: Document, config: KontorConfig, markets: Mapping[str, Collection[str]]
) -> Iterator[Problem]:
    """A problem for each strategy that could not run, at the key that is wrong; with those of single accounts."""
    known = set().union(*markets.values())
    # A strategy of one's own lies where the desk runs, beside the settings.
    if "" not in sys.path:
        sys.path.insert(0, "")
    for name, settings in config.strategies.items():
        yield from _problems(document, ("strategies", name), settings, known)
    for account in config.accounts:
        for name, settings in config.of(account).strategies.items():
            # One that is nowhere different has been looked at.
            if settings != config.strategies.get(name):
                place = ("accounts", account, "strategies", name)
                yield from _problems(document, place, settings, markets.get(account, known))


def _problems(
    document: Document, place: tuple[str, ...], settings: StrategySettings, known: Collection[str]
) -> Iterator[Problem]:
    try:
        need_of(build(settings))
    except ConfigError as error:
        at_key = error.where == "use" or settings.parameters
        yield document.problem((*place, error.where) if at_key else place, error.problem)
    for number, symbol in enumerate(settings.symbols if known else ()):
        if symbol not in known:
            yield document.problem((*place, "symbols", number), unknown_symbol(symbol, known))
