"""The settings in kontor.yaml: what is traded, and within which limits. One sentence per mistake, with its place."""

from kontor.config.reading import describe, load_config, parse_config, read_yaml
from kontor.config.root import KontorConfig
from kontor.config.sections import (
    CandleSettings,
    Condition,
    HistorySettings,
    OrderSettings,
    RiskSettings,
    WatchlistSettings,
)
from kontor.config.streams import StreamSettings

__all__ = [
    "CandleSettings",
    "Condition",
    "HistorySettings",
    "KontorConfig",
    "OrderSettings",
    "RiskSettings",
    "StreamSettings",
    "WatchlistSettings",
    "describe",
    "load_config",
    "parse_config",
    "read_yaml",
]
