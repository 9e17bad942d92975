"""The whole of kontor.yaml."""

from datetime import timedelta

from kontor.config.base import Settings
from kontor.config.sections import CandleSettings, HistorySettings, OrderSettings, RiskSettings, WatchlistSettings
from kontor.config.streams import StreamSettings


class KontorConfig(Settings):
    """The whole of kontor.yaml; every key has a default, so an empty file is a valid one."""

    capital_currency: str = "USD"
    watchlist: WatchlistSettings = WatchlistSettings()
    candles: CandleSettings = CandleSettings()
    risk: RiskSettings = RiskSettings()
    orders: OrderSettings = OrderSettings()
    history: HistorySettings = HistorySettings()
    streams: StreamSettings = StreamSettings()

    @property
    def good_for(self) -> timedelta:
        """How long an unsent order stays sendable."""
        return timedelta(seconds=self.orders.good_for_seconds)
