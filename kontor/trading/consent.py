"""Where positions would have no stop at the venue, and whether the operator has accepted that."""

from kontor.domain.market import Market, MarketKind
from kontor.execution.parts import Parts


def lacks_stops(parts: Parts, market: Market) -> str | None:
    """Why a position there has no stop at the venue; None where it has one, and on spot."""
    if market.kind is not MarketKind.SWAP or parts.exchange.profile.stop_orders:
        return None
    return f"{parts.exchange.profile.exchange_id} holds no stop orders that this desk can use"


def needs_consent(parts: Parts, market: Market) -> str | None:
    """Why a strategy may not open a position there yet, with the remedy."""
    reason = lacks_stops(parts, market)
    if reason is None or parts.config.protection.without_venue_stops == "accept":
        return None
    return (
        f"protection: {reason}; a position would be closed only while the desk runs. To accept that, set"
        " protection.without_venue_stops: accept in kontor.yaml"
    )
