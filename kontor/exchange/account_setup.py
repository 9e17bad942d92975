"""How an account is set up, as the venue itself says; ccxt has no method of its own for it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kontor.domain.setup import AccountLevel, AccountSetup, PositionMode

# What `Exchange.call` takes besides ccxt's own reads.
ACCOUNT_SETUP = "fetch_account_setup"
_OKX_LEVELS = {
    "1": AccountLevel.SPOT,
    "2": AccountLevel.FUTURES,
    "3": AccountLevel.MULTI_CURRENCY,
    "4": AccountLevel.PORTFOLIO,
}
_OKX_MODES = {"net_mode": PositionMode.NET, "long_short_mode": PositionMode.HEDGED}


async def _okx(client: Any) -> AccountSetup:
    (row,) = (await client.private_get_account_config())["data"]
    return AccountSetup(_OKX_LEVELS.get(str(row.get("acctLv"))), _OKX_MODES.get(str(row.get("posMode"))))


SETUP_READERS: Mapping[str, Callable[[Any], Awaitable[AccountSetup]]] = dict.fromkeys(("okx", "okxus", "myokx"), _okx)
