"""What an API key may do, as the venue itself says; ccxt has no method of its own for it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kontor.errors import ConfigError, NotSupported
from kontor.ports import Exchange, ExchangeSettings

READ, TRADE, WITHDRAW = "read", "trade", "withdraw"
# What `Exchange.call` takes besides ccxt's own reads.
KEY_PERMISSIONS = "fetch_key_permissions"

Permissions = frozenset[str]


async def _okx(client: Any) -> Permissions:
    (row,) = (await client.private_get_account_config())["data"]
    named = {part.strip() for part in str(row["perm"]).split(",")}
    return frozenset({"read_only": READ}.get(name, name) for name in named if name)


async def _binance(client: Any) -> Permissions:
    row = await client.sapi_get_account_apirestrictions()
    can = {
        READ: row["enableReading"],
        TRADE: any(row.get(name) for name in ("enableSpotAndMarginTrading", "enableFutures", "enableMargin")),
        WITHDRAW: row["enableWithdrawals"],
    }
    return frozenset(name for name, value in can.items() if value)


async def _bybit(client: Any) -> Permissions:
    result = (await client.private_get_v5_user_query_api())["result"]
    granted = {part for group in result["permissions"].values() for part in group or ()}
    found = {READ}
    if str(result["readOnly"]) != "1":
        found |= {TRADE} if granted & {"Order", "SpotTrade", "DerivativesTrade", "OptionsTrade"} else set()
        found |= {WITHDRAW} if "Withdraw" in granted else set()
    return frozenset(found)


READERS: Mapping[str, Callable[[Any], Awaitable[Permissions]]] = {
    "okx": _okx,
    "binance": _binance,
    "binanceusdm": _binance,
    "binancecoinm": _binance,
    "bybit": _bybit,
}


async def key_permissions(exchange: Exchange) -> Permissions | None:
    """What the account's key may do: some of read, trade, withdraw; None where this venue, or ccxt, cannot tell."""
    try:
        return await exchange.call(KEY_PERMISSIONS)
    except NotSupported:
        return None


async def require_no_withdrawals(exchange: Exchange, settings: ExchangeSettings) -> None:
    """Raises ConfigError when a live account's key could move the money away and nobody has accepted that in words."""
    if settings.mode != "live" or settings.may_withdraw:
        return
    permissions = await key_permissions(exchange)
    if permissions is not None and WITHDRAW in permissions:
        raise ConfigError(
            f"its key may withdraw, which trading does not need and a thief would: make one without that permission at "
            f"{settings.exchange_id} and put it into the block, or accept it there in words under Withdrawals",
            where=f"account {settings.account}",
        )
