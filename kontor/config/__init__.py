"""The settings in kontor.yaml: what is traded, and within which limits. One sentence per mistake, with its place."""

from kontor.config.accounts import AccountOverlay
from kontor.config.alerts import AlertSettings, ChannelRules
from kontor.config.document import Document, Problem, parse_document, read_document, spelled
from kontor.config.reading import check_config, describe, load_config, parse_config, problems_of, read_yaml
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
from kontor.config.trading import ExitSettings, StrategySettings, UnitSettings

__all__ = [
    "AccountOverlay",
    "AlertSettings",
    "CandleSettings",
    "ChannelRules",
    "Condition",
    "Document",
    "ExitSettings",
    "HistorySettings",
    "KontorConfig",
    "OrderSettings",
    "Problem",
    "RiskSettings",
    "StrategySettings",
    "StreamSettings",
    "UnitSettings",
    "WatchlistSettings",
    "check_config",
    "describe",
    "load_config",
    "parse_config",
    "parse_document",
    "problems_of",
    "read_document",
    "read_yaml",
    "spelled",
]
