"""Which strategies of kontor.yaml are replayed."""

from collections.abc import Sequence

from kontor.config import KontorConfig
from kontor.errors import ConfigError


def chosen(config: KontorConfig, names: Sequence[str] | None) -> KontorConfig:
    """The settings with the named strategies only, enabled; with those that are enabled when none is named."""
    known = config.strategies
    for name in names or ():
        if name not in known:
            have = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"kontor.yaml has no strategy {name!r}; it has {have}", where="--strategy")
    kept = {
        name: settings.model_copy(update={"enabled": True})
        for name, settings in known.items()
        if (name in names if names else settings.enabled)
    }
    if not kept:
        raise ConfigError("no strategy is enabled; name one with --strategy", where="kontor.yaml")
    return config.model_copy(update={"strategies": kept})
