"""Which paths there are under /api/v5, who may call them, how often, and what answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kontor.paper import rest_account, rest_asset, rest_public, rest_trade
from kontor.paper.algos import rest as rest_algos
from kontor.paper.rate_limits import (
    ALGOS,
    AMEND,
    AMEND_ALGO,
    CANCEL,
    CANCEL_ALGO,
    PLACE,
    PLACE_ALGO,
    Charge,
    Limit,
    Scope,
    order_charges,
    request_charges,
)
from kontor.paper.replies import Call, Reply

PREFIX = "/api/v5/"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method and path."""

    method: str
    path: str
    answer: Callable[[Call], Reply]
    limit: Limit
    private: bool = False

    @property
    def takes_orders(self) -> bool:
        """Whether it is one of OKX's order endpoints, whose answers carry inTime and outTime."""
        return self.limit in {PLACE, CANCEL, AMEND}

    def charges(self, call: Call, ip: str) -> list[Charge]:
        """What this call takes from which limits."""
        if self.takes_orders or self.limit in ALGOS:
            return order_charges(self.limit, call.account, rest_trade.orders_of(call))
        return request_charges(self.limit, ip=ip, account=call.account, params=call.params)


def _public(
    path: str, answer: Callable[[Call], Reply], count: int, seconds: float, scope: Scope = Scope.IP
) -> Endpoint:
    return Endpoint("GET", path, answer, Limit(path, count, seconds, scope))


def _private(method: str, path: str, answer: Callable[[Call], Reply], count: int, seconds: float) -> Endpoint:
    return Endpoint(method, path, answer, Limit(f"{method} {path}", count, seconds, Scope.USER), private=True)


def _orders(path: str, answer: Callable[[Call], Reply], limit: Limit) -> Endpoint:
    return Endpoint("POST", path, answer, limit, private=True)


ENDPOINTS = (
    _public("public/instruments", rest_public.instruments, 20, 2),
    _public("public/time", rest_public.server_time, 10, 2),
    _public("public/mark-price", rest_public.mark_price, 10, 2, Scope.IP_INSTRUMENT),
    _public("public/funding-rate", rest_public.funding_rate, 10, 2, Scope.IP_INSTRUMENT),
    _public("public/funding-rate-history", rest_public.funding_rate_history, 10, 2, Scope.IP_INSTRUMENT),
    _public("public/open-interest", rest_public.open_interest, 20, 2, Scope.IP_INSTRUMENT),
    _public("market/tickers", rest_public.tickers, 20, 2),
    _public("market/ticker", rest_public.ticker, 20, 2),
    _public("market/books", rest_public.books, 40, 2),
    _public("market/trades", rest_public.trades, 100, 2),
    _public("market/candles", rest_public.candles, 40, 2),
    _public("market/history-candles", rest_public.history_candles, 20, 2),
    _public("system/status", rest_public.status, 1, 5),
    _orders("trade/order", rest_trade.place, PLACE),
    _orders("trade/batch-orders", rest_trade.place_batch, PLACE),
    _orders("trade/cancel-order", rest_trade.cancel, CANCEL),
    _orders("trade/cancel-batch-orders", rest_trade.cancel_batch, CANCEL),
    _orders("trade/amend-order", rest_trade.amend, AMEND),
    _private("POST", "trade/cancel-all-after", rest_trade.cancel_all_after, 1, 1),
    Endpoint(
        "GET", "trade/order", rest_trade.details, Limit("GET trade/order", 60, 2, Scope.USER_INSTRUMENT), private=True
    ),
    _orders("trade/order-algo", rest_algos.place, PLACE_ALGO),
    _orders("trade/cancel-algos", rest_algos.cancel, CANCEL_ALGO),
    _orders("trade/amend-algos", rest_algos.amend, AMEND_ALGO),
    _private("GET", "trade/order-algo", rest_algos.details, 20, 2),
    _private("GET", "trade/orders-algo-pending", rest_algos.pending, 20, 2),
    _private("GET", "trade/orders-algo-history", rest_algos.history, 20, 2),
    _private("GET", "trade/orders-pending", rest_trade.pending, 60, 2),
    _private("GET", "trade/orders-history", rest_trade.history, 40, 2),
    _private("GET", "trade/orders-history-archive", rest_trade.history, 20, 2),
    _private("GET", "trade/fills", rest_trade.fills, 60, 2),
    _private("GET", "trade/fills-history", rest_trade.fills_history, 10, 2),
    _private("GET", "account/balance", rest_account.balance, 10, 2),
    _private("GET", "account/positions", rest_account.positions, 10, 2),
    _private("POST", "account/set-leverage", rest_account.set_leverage, 40, 2),
    _private("GET", "account/leverage-info", rest_account.leverage_info, 20, 2),
    _private("GET", "account/config", rest_account.config, 5, 2),
    _private("GET", "account/trade-fee", rest_account.trade_fee, 5, 2),
    _private("POST", "account/set-position-mode", rest_account.set_position_mode, 5, 2),
    _private("GET", "account/bills", rest_account.bills, 5, 1),
    _private("GET", "account/bills-archive", rest_account.archived_bills, 5, 2),
    _private("GET", "asset/balances", rest_asset.balances, 6, 1),
    _private("POST", "asset/transfer", rest_asset.transfer, 2, 1),
    _private("GET", "asset/transfer-state", rest_asset.transfer_state, 10, 1),
    _private("GET", "asset/currencies", rest_account.currencies, 6, 1),
)
BY_PATH = {(endpoint.method, PREFIX + endpoint.path): endpoint for endpoint in ENDPOINTS}
PATHS = {path for _, path in BY_PATH}
