"""How an account is set up at its venue, and what of that forbids new risk. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from kontor.domain.account import Position


class PositionMode(StrEnum):
    """Whether a symbol has one position, or one for each side."""

    NET = "net"
    HEDGED = "hedged"


class AccountLevel(StrEnum):
    """What an account may trade, from least to most."""

    SPOT = "spot"
    FUTURES = "futures"
    MULTI_CURRENCY = "multi-currency margin"
    PORTFOLIO = "portfolio margin"


@dataclass(frozen=True, slots=True)
class AccountSetup:
    """As the venue has it; None where it does not tell."""

    level: AccountLevel | None = None
    position_mode: PositionMode | None = None
    # By symbol, of those that were asked for.
    leverage: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedSetup:
    """What the desk needs."""

    margin_mode: str
    leverage: Mapping[str, Decimal] = field(default_factory=dict)
    # Strategies trade swaps, or some are held.
    needs_swaps: bool = False


def mismatches(found: AccountSetup, wanted: WantedSetup, positions: Sequence[Position]) -> tuple[str, ...]:
    """One sentence for each thing that forbids new risk, with its remedy."""
    problems: list[str] = []
    if found.level is AccountLevel.SPOT and wanted.needs_swaps:
        problems.append(
            "the account's level is spot, which cannot hold swaps; set the account mode to futures at the venue"
        )
    if found.position_mode is PositionMode.HEDGED:
        problems.append(
            "the account holds long and short positions apart, and the desk nets them; set the position mode to net at"
            " the venue, once it is flat"
        )
    problems += [
        f"{position.symbol} is held with {position.margin_mode} margin, setup.margin_mode is {wanted.margin_mode};"
        " close that position at the venue, or change the setting"
        for position in positions
        if position.margin_mode and position.margin_mode != wanted.margin_mode
    ]
    for symbol, leverage in sorted(wanted.leverage.items()):
        there = found.leverage.get(symbol)
        if there is not None and there != leverage:
            problems.append(
                f"the venue has leverage {there:f} on {symbol}, setup.leverage says {leverage:f}; run the flow"
                " set-leverage, or change the setting"
            )
    return tuple(problems)
