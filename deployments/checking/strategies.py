"""The strategies of kontor.yaml, held against their code: can each be found and made, does its symbol exist."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping

from deployments.checking.updaters import unknown_symbol
from kontor.config import Document, KontorConfig, Problem
from kontor.errors import ConfigError
from kontor.strategies.registry import build, need_of


def strategy_problems(
    document: Document, config: KontorConfig, markets: Mapping[str, Collection[str]]
) -> Iterator[Problem]:
    """A problem for each strategy that could not run, at the key that is wrong."""
    known = set().union(*markets.values())
    # A strategy of one's own lies where the desk runs, beside the settings.
    if "" not in sys.path:
        sys.path.insert(0, "")
    for name, settings in config.strategies.items():
        try:
            need_of(build(settings))
        except ConfigError as error:
            place = (
                ("strategies", name, error.where)
                if error.where == "use" or settings.parameters
                else ("strategies", name)
            )
            yield document.problem(place, error.problem)
        for number, symbol in enumerate(settings.symbols if known else ()):
            if symbol not in known:
                yield document.problem(("strategies", name, "symbols", number), unknown_symbol(symbol, known))
