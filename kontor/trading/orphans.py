"""Positions that no strategy of kontor.yaml manages any more, and what still ends them."""

from collections.abc import Mapping

from kontor.config import KontorConfig
from kontor.domain.exits import ExitRules
from kontor.domain.market import Market, MarketKind
from kontor.domain.strategy_position import Positions, StrategyPosition
from kontor.ports import Store
from kontor.trading.exit_rules import exit_rules_of
from kontor.trading.positions import stored_holders


def orphans(
    config: KontorConfig, positions: Positions, rules: Mapping[str, ExitRules], markets: Mapping[str, Market]
) -> dict[str, str]:
    """A sentence for each open position whose strategy is gone, switched off, or trades other symbols now."""
    found: dict[str, str] = {}
    for (name, symbol), position in positions.items():
        settings = config.strategies.get(name)
        if not position.is_open or (settings is not None and settings.enabled and symbol in settings.symbols):
            continue
        why = "does not trade it any more"
        if settings is None or not settings.enabled:
            why = "is not in kontor.yaml any more" if settings is None else "is switched off"
        ends = _ends(position, rules.get(name, ExitRules()), markets.get(symbol))
        found[f"{name} {symbol}"] = f"strategy {name} holds {position.quantity:+f} {symbol} and {why}: {ends}"
    return found


def _ends(position: StrategyPosition, rules: ExitRules, market: Market | None) -> str:
    if rules != ExitRules():
        return "its exits go on until it is flat"
    remedy = f"close it with close-position symbol={position.symbol}, or bring the strategy back"
    if market is not None and market.kind is MarketKind.SWAP:
        return f"it has no exit rules, and only its stop at the exchange ends it; {remedy}"
    return f"it has no exit rules, so nothing ends it; {remedy}"


async def stored_orphans(store: Store, account: str, config: KontorConfig) -> list[str]:
    """The same for a store that no desk has open; nothing is asked of the venue."""
    markets = await store.market.markets(account)
    held = await stored_holders(store, account, markets)
    rules = await exit_rules_of(store.desk, account, config)
    return list(orphans(config, held.positions, rules, markets).values())
