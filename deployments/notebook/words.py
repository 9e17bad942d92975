"""The notebook's vocabulary, and ours: attributes, helper methods, tasks."""

from __future__ import annotations

from collections.abc import Mapping

# Shared state that has another name here.
RENAMED: Mapping[str, str] = {
    "watch_list": "watchlist",
    "wl_ranges": "ranges",
    "current_ranges": "ranges",
    "wl_restricted": "restricted",
    "watch_list_filter": "watchlist_filter",
    "is_open_orders": "open_orders",
    "is_open_positions": "positions",
}
# The exchange driver, which every call has here without asking.
EXCHANGE = "self.aftx"

# Live state whose start value means nothing: what keeps it now.
LIVE: Mapping[str, str] = {
    "open_orders": "$open_orders, kept by update-open-orders",
    "is_open_orders": "$open_orders, kept by update-open-orders",
    "positions": "$positions, kept by update-positions",
    "is_open_positions": "$positions, kept by update-positions",
    "current_ranges": "$ranges",
    "wl_ranges": "$ranges",
    "ohlcs": "$ohlcs",
    "last_price": "$last_price, kept by update-tickers",
    "watch_list": "$watchlist",
    "total_capital": "$total_capital, kept by update-balance",
    "free_capital": "$free_capital, kept by update-balance",
    "initial_capital": "$initial_capital, the first total ever seen",
    "system_status": "heartbeats: kontor status",
    "closed_trades": "fills in the store: kontor orders show",
}
# Flags and parts of the old engine, with what does their work now.
ENGINE: Mapping[str, tuple[str, str]] = {
    "interactor": ("", "there is no interactor: the Prefect UI, kontor and the notifier blocks take its place"),
    "interactions": ("", "there is no interactor"),
    "activate_interactor": ("", "there is no interactor"),
    "proc_name": ("", "kontor up names its processes"),
    "stop_updates": ("kontor down", "a flag that everybody has to look at"),
    "restart_exchange": ("flow restart-exchange", "a flag that, left up, hung everybody"),
    "first_update": ("the gate, opened by initialize", "a flag that everybody has to look at"),
}
QUEUE = "pending_orders"

# Helper methods by their names in Misso.services; the exchange driver is no argument any more.
METHODS: Mapping[str, str] = {
    "get_filtered_watch_list": "get_filtered_watch_list",
    "get_current_ranges": "get_current_ranges",
    "get_watch_list_from_wl_ranges": "get_watch_list_from_ranges",
    "get_ohlcv_data": "get_ohlcv_data",
    "get_last_prices_from_watch_list": "get_last_prices",
    "get_total_balance": "get_total_balance",
    "get_free_balance": "get_free_balance",
    "get_open_positions": "get_open_positions",
    "get_open_orders": "get_open_orders",
}
MODULES = frozenset({"Misso.services.async_helper", "Misso.services.helper"})
SUBTASK_TYPES = frozenset({"async", "standard"})

INIT_TASK = "t_init_update"
TEMPLATE_TASK = "t_update_template"
SHUTDOWN_TASK = "t_shutdown"
EXECUTE_TASK = "t_execute_orders"
# Tasks that were methods of the base class: the flows that do their work, with the interval of the task.
TASKS: Mapping[str, tuple[str, ...]] = {
    "t_update_tickers": ("flows.market_data.update_tickers",),
    "t_update_balance": ("flows.account.update_balance",),
    "t_update_open_orders_dict": ("flows.account.update_open_orders", "flows.orders.track_orders"),
    "t_update_open_orders": ("flows.account.update_open_orders", "flows.orders.track_orders"),
    "t_get_open_orders": ("flows.account.update_open_orders",),
    "t_get_open_positions": ("flows.account.update_positions",),
    "t_system_status": ("flows.operate.check_system_status",),
    "t_restart_exchange": ("flows.operate.restart_exchange",),
}
# What those tasks stored, where the file says it with `out`.
OUTS: Mapping[str, str] = {"t_update_tickers": "last_price"}
