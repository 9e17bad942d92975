"""Looking at how the account is set up at the venue; what does not fit refuses new risk until somebody mends it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kontor.config import KontorConfig
from kontor.domain.market import Market, MarketKind
from kontor.domain.setup import AccountSetup, WantedSetup, mismatches
from kontor.errors import ConfigError, ExchangeError, NotSupported
from kontor.exchange.account_setup import ACCOUNT_SETUP
from kontor.execution.parts import Parts
from kontor.execution.view import SETUP, load_markets
from kontor.ports import Alert, Exchange, Notifier

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SetupReport:
    """What forbids new risk, with remedies, what the venue does not tell, and what it does."""

    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    found: AccountSetup = field(default_factory=AccountSetup)


async def check_setup(parts: Parts, notifier: Notifier | None = None) -> SetupReport:
    """Compare account level, position mode, margin mode and leverage with what the desk needs.

    Mismatches are kept where the gate sees them, and told when they are new. Raises what the venue raises.
    """
    report = await compare_setup(parts.exchange, parts.config, await load_markets(parts))
    await _keep(parts, report.problems, notifier)
    return report


async def compare_setup(exchange: Exchange, config: KontorConfig, markets: Mapping[str, Market]) -> SetupReport:
    """How the account is set up at the venue against what kontor.yaml wants; raises what the venue raises."""
    unknown: list[str] = []
    wanted_leverage = config.setup.leverage
    strange = sorted(wanted_leverage.keys() - markets.keys())
    if strange:
        raise ConfigError(f"{', '.join(strange)} is not a market of this venue", where="setup.leverage")
    traded = {symbol for each in config.strategies.values() if each.enabled for symbol in each.symbols}
    positions = await exchange.fetch_positions()
    wanted = WantedSetup(
        config.setup.margin_mode,
        wanted_leverage,
        needs_swaps=bool(positions)
        or any(symbol in markets and markets[symbol].kind is MarketKind.SWAP for symbol in traded),
    )
    found = await _found(exchange, wanted, unknown)
    return SetupReport(mismatches(found, wanted, positions), tuple(unknown), found)


async def set_leverage(parts: Parts, symbol: str, leverage: Decimal) -> tuple[Decimal | None, Decimal]:
    """Set it and look whether it is so: (before, now); before is None where the venue does not tell."""
    markets = await load_markets(parts)
    market = markets.get(symbol)
    if market is None or market.kind is not MarketKind.SWAP:
        raise ConfigError(f"{symbol} is not a swap of this venue; only swaps have leverage", where="symbol")
    if market.max_leverage is not None and leverage > market.max_leverage:
        raise ConfigError(f"{leverage:f} is above the venue's {market.max_leverage:f} for {symbol}", where="leverage")
    margin_mode = parts.config.setup.margin_mode
    before = await _leverage(parts.exchange, symbol, margin_mode)
    if before == leverage:
        return before, leverage
    await parts.exchange.set_leverage(symbol, leverage)
    now = await _leverage(parts.exchange, symbol, margin_mode)
    log.warning("leverage set account=%s symbol=%s before=%s now=%s", parts.account, symbol, before, now)
    return before, leverage if now is None else now


async def _found(exchange: Exchange, wanted: WantedSetup, unknown: list[str]) -> AccountSetup:
    try:
        found: AccountSetup = await exchange.call(ACCOUNT_SETUP)
    except NotSupported:
        unknown.append("account level and position mode: look at the venue's own page")
        found = AccountSetup()
    leverage: dict[str, Decimal] = {}
    for symbol in wanted.leverage:
        there = await _leverage(exchange, symbol, wanted.margin_mode)
        if there is None:
            unknown.append(f"leverage of {symbol}: look at the venue's own page")
        else:
            leverage[symbol] = there
    return AccountSetup(found.level, found.position_mode, leverage)


async def _leverage(exchange: Exchange, symbol: str, margin_mode: str) -> Decimal | None:
    try:
        raw: Any = await exchange.call("fetch_leverage", symbol, {"marginMode": margin_mode})
    except NotSupported:
        return None
    sides = [raw.get("longLeverage"), raw.get("shortLeverage")]
    known = [Decimal(str(side)) for side in sides if side is not None]
    if not known:
        raise ExchangeError(f"the answer about the leverage of {symbol} names none")
    return max(known)


async def _keep(parts: Parts, problems: Sequence[str], notifier: Notifier | None) -> None:
    now = parts.clock.now()
    stored = await parts.store.desk.attribute(parts.account, SETUP)
    before = list(stored.value) if stored and stored.value else []
    if before == list(problems):
        return
    await parts.store.desk.set_attribute(parts.account, SETUP, list(problems), now)
    if notifier is None:
        return
    if problems:
        text = "\n".join(problems)
        notifier.notify(
            Alert("No new risk: the account's set-up", text, "critical", now, parts.account, event="setup.mismatch")
        )
    else:
        notifier.notify(
            Alert("The account's set-up fits again", "Orders pass.", "info", now, parts.account, event="setup.fits")
        )
