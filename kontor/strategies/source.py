"""Which version of its code and settings a strategy runs with, without running any of that code."""

import os
import sys
from importlib.machinery import ModuleSpec

from kontor.config import StrategySettings
from kontor.strategies.registry import place_of

# Settings, and when the file was changed last, with its size: two edits may fall into one tick of the clock.
Version = tuple[str, tuple[int, ...]]


def version_of(settings: StrategySettings) -> Version:
    """Differs when settings or file have changed; raises ConfigError for a name that nobody knows."""
    spec = _spec(place_of(settings.use).partition(":")[0])
    stamp: tuple[int, ...] = ()
    if spec is not None and spec.origin is not None:
        try:
            found = os.stat(spec.origin)  # noqa: PTH116
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
        except OSError:
            stamp = ()
    return settings.model_dump_json(), stamp


def _spec(name: str) -> ModuleSpec | None:
    """As importlib.util.find_spec, which imports the packages around a module: theirs is the user's code too."""
    path, spec = None, None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _found(".".join(parts[:depth]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _found(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # noqa: BLE001, S112 - an odd finder, or an odd name: the child will say what is wrong
            continue
        if spec is not None:
            return spec
    return None
