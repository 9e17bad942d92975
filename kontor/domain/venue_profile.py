"""What one venue can do and how it behaves, as far as orders depend on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from kontor.domain.market import MarketKind


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """Facts about a venue; `capabilities` maps a unified method (`fetchTickers`) to whether it works there."""

    exchange_id: str
    capabilities: Mapping[str, bool] = field(default_factory=dict)
    # An unanswered order may be sent again only after the venue has said "not found" throughout this time.
    absence_grace: timedelta = timedelta(seconds=10)
    lookup_by_client_order_id: bool = False
    client_order_id_on_create: bool = False
    batch_limit: int = 1
    # Its dead man's switch can be armed, renewed and disarmed by this desk; and whose orders it cancels.
    cancel_all_after: bool = False
    cancel_all_after_kinds: frozenset[MarketKind] = frozenset(MarketKind)
    # It is known that such a cancel leaves stop orders alone that protect a position.
    cancel_all_after_spares_stops: bool = False
    # It holds reduce-only stops itself, and this desk can place, find and cancel them by an id of ours.
    stop_orders: bool = False
    # An entry can bring its stop along, which the venue places itself when the entry is filled.
    attached_stops: bool = False
    # The venue drops a request that reaches it later than the moment we name.
    request_expiry: bool = False
    max_candles_per_call: int = 300

    def lacks(self, needed: Mapping[str, str]) -> tuple[str, ...]:
        """One sentence for each needed method (`{method: what the desk uses it for}`) this venue does not have."""
        return tuple(
            f"{self.exchange_id} has no {method}: {purpose}"
            for method, purpose in needed.items()
            if not self.capabilities.get(method)
        )
