"""Dead man's switches as the venues have them: which orders each takes, and how it is armed and disarmed.

Only venues whose own documentation and ccxt's request agree are here. Bybit is not: its "disconnect protect" counts
from the loss of a private WebSocket that has subscribed to `dcp`, must be enabled by an account manager, knows no
disarming, and ccxt's request for it arms nothing by itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kontor.domain.market import MarketKind

EVERY_KIND = frozenset(MarketKind)


@dataclass(frozen=True, slots=True)
class CancelAllAfter:
    """How one venue's switch is worked."""

    # Whose orders it cancels; those of other kinds stay.
    kinds: frozenset[MarketKind] = EVERY_KIND
    # The parameters of each request of ccxt's that it takes.
    requests: tuple[Mapping[str, Any], ...] = ({},)
    # Where ccxt's request with a time of 0 does not remove it: what does.
    disarm: Callable[[Any], Awaitable[Any]] | None = None

    async def set(self, client: Any, seconds: float) -> None:
        """Arm it for so many seconds from now, or disarm it with 0."""
        if seconds <= 0 and self.disarm is not None:
            await self.disarm(client)
            return
        for params in self.requests:
            await client.cancel_all_orders_after(int(seconds * 1000), dict(params))


async def _remove_scheduled_cancel(client: Any) -> None:
    """Hyperliquid removes the schedule when the action has no time; ccxt always sends one, and 0 means "now"."""
    nonce = client.incrementing_nonce()
    action = {"type": "scheduleCancel"}
    vault, _ = client.handle_option_string_and_params_2({}, "cancelAllOrdersAfter", "vaultAddress", "subAccountAddress")
    vault = client.format_vault_address(vault)
    request = {"nonce": nonce, "action": action, "signature": client.sign_l1_action(action, nonce, vault)}
    await client.private_post_exchange(request if vault is None else {**request, "vaultAddress": vault})


SWITCHES: Mapping[str, CancelAllAfter] = {
    # https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-cancel-all-after: 0, or 10 to 120 s.
    **dict.fromkeys(("okx", "okxus", "myokx"), CancelAllAfter()),
    # https://docs.kraken.com/api-reference/trading/cancel-all-orders-after-x
    "kraken": CancelAllAfter(frozenset({MarketKind.SPOT})),
    # https://docs.kraken.com/api-reference/order-management/dead-mans-switch
    "krakenfutures": CancelAllAfter(frozenset({MarketKind.SWAP})),
    # hyperliquid-docs, exchange endpoint, "schedule cancel": at least 5 s ahead, fires 10 times a day at most, and
    # only for accounts that have traded enough.
    "hyperliquid": CancelAllAfter(disarm=_remove_scheduled_cancel),
    # https://huobiapi.github.io/docs/spot/v1/en/#dead-man-s-switch: 0, or at least 5 s; orders on spot only.
    "htx": CancelAllAfter(frozenset({MarketKind.SPOT})),
    # https://bingx-api.github.io/docs-v3, "Cancel All After": 10 to 120 s, one request for each kind of market.
    "bingx": CancelAllAfter(requests=({"type": "spot"}, {"type": "swap"})),
}
