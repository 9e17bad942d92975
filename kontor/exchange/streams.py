"""CcxtStreams: the port Streams over any exchange ccxt.pro knows."""

from kontor.exchange.account_streams import AccountStreams
from kontor.exchange.market_streams import MarketStreams


class CcxtStreams(MarketStreams, AccountStreams):
    """Live data of one account: everybody's and its own."""
