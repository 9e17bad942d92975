"""Loading the strategies of kontor.yaml: each by its host, on its own, within its time."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from kontor.config import KontorConfig, StrategySettings
from kontor.errors import ConfigError, StrategyFailed
from kontor.execution.parts import Parts
from kontor.strategies.hosts import Host, Hosted
from kontor.strategies.view import DataNeed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """A strategy that could be loaded, with what it needs to see."""

    name: str
    settings: StrategySettings
    need: DataNeed

    def hosted(self, account: str) -> Hosted:
        """What its host knows it by."""
        return Hosted(account, self.name, self.settings)


def enabled(config: KontorConfig) -> Mapping[str, StrategySettings]:
    """The strategies that are to run."""
    return {name: settings for name, settings in config.strategies.items() if settings.enabled}


def loading(
    parts: Parts, host: Host, settings: Mapping[str, StrategySettings], *, seconds: float
) -> list[asyncio.Task[Ready | tuple[str, str]]]:
    """A task for each that ends with it, or with its name and why it cannot be loaded."""
    return [asyncio.ensure_future(_load(parts, host, name, each, seconds)) for name, each in settings.items()]


async def _load(
    parts: Parts, host: Host, name: str, settings: StrategySettings, seconds: float
) -> Ready | tuple[str, str]:
    try:
        need = await host.need(Hosted(parts.account, name, settings), seconds=seconds)
        _check_history(parts, need)
    except ConfigError as error:
        return name, f"kontor.yaml: strategies.{name}.{error}"
    except StrategyFailed as error:
        return name, str(error)
    except Exception as error:
        # A mistake of ours must not stop the others either.
        log.exception("strategy not loaded account=%s strategy=%s", parts.account, name)
        return name, f"{type(error).__name__}: {error}"
    return Ready(name, settings, need)


def _check_history(parts: Parts, need: DataNeed) -> None:
    candles = parts.config.candles
    for timeframe, count in need.all():
        if timeframe == candles.timeframe and count > candles.keep:
            raise ConfigError(
                f"needs {count} candles of {timeframe}; raise candles.keep, which is {candles.keep}", where="use"
            )
