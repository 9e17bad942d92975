"""The whole of kontor.yaml."""

from datetime import timedelta

from pydantic import Field, field_validator

from kontor.config.accounts import AccountName, AccountOverlay
from kontor.config.alerts import AlertSettings
from kontor.config.attributes import Attributes
from kontor.config.base import Settings
from kontor.config.protection import ProtectionSettings
from kontor.config.sections import CandleSettings, HistorySettings, OrderSettings, RiskSettings, WatchlistSettings
from kontor.config.setup import SetupSettings
from kontor.config.streams import StreamSettings
from kontor.config.trading import StrategySettings, UnitSettings, check_strategies


class KontorConfig(Settings):
    """The whole of kontor.yaml; every key has a default, so an empty file is a valid one."""

    capital_currency: str = "USD"
    watchlist: WatchlistSettings = WatchlistSettings()
    candles: CandleSettings = CandleSettings()
    risk: RiskSettings = RiskSettings()
    protection: ProtectionSettings = ProtectionSettings()
    setup: SetupSettings = SetupSettings()
    orders: OrderSettings = OrderSettings()
    history: HistorySettings = HistorySettings()
    alerts: AlertSettings = AlertSettings()
    streams: StreamSettings = StreamSettings()
    # Start values of shared state, for the updaters of prefect.yaml: `$name`.
    attributes: Attributes = Field(default_factory=dict)
    strategies: dict[str, StrategySettings] = Field(default_factory=dict)
    units: UnitSettings = UnitSettings()
    # What is different for single accounts.
    accounts: dict[AccountName, AccountOverlay] = Field(default_factory=dict)

    @field_validator("strategies")
    @classmethod
    def _fit_together(cls, strategies: dict[str, StrategySettings]) -> dict[str, StrategySettings]:
        return dict(check_strategies(strategies))

    def of(self, account: str) -> "KontorConfig":
        """What holds for one account; raises pydantic's ValidationError when what is different there is wrong."""
        overlay = self.accounts.get(account)
        if overlay is None:
            return self
        return KontorConfig.model_validate(overlay.over(self.model_dump(exclude_unset=True, exclude={"accounts"})))

    @property
    def good_for(self) -> timedelta:
        """How long an unsent order stays sendable."""
        return timedelta(seconds=self.orders.good_for_seconds)
