"""What people have been told already: kept in the store, so that nothing is told twice or forgotten over a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from kontor.notify.holdings import Holding
from kontor.ports import HistoryMark

TOLD = "told"


@dataclass(frozen=True, slots=True)
class Told:
    """The state of telling, as it is after the last alert that was handed over."""

    mark: HistoryMark
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    # P&L of positions closed since the last daily summary, by quote currency.
    realized: Mapping[str, Decimal] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    halt: str = ""
    halt_group: str = ""
    gate_at: str = ""
    is_up: bool = False
    summary_on: str = ""

    def with_realized(self, currency: str, pnl: Decimal) -> "Told":
        """One more position has been closed."""
        return replace(self, realized={**self.realized, currency: self.realized.get(currency, Decimal(0)) + pnl})

    def to_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        return {
            "event": self.mark.event,
            "fill": self.mark.fill,
            "holdings": {
                symbol: [str(held.quantity), str(held.entry), str(held.pnl)] for symbol, held in self.holdings.items()
            },
            "realized": {currency: str(pnl) for currency, pnl in self.realized.items()},
            "unknown": sorted(self.unknown),
            "halt": self.halt,
            "halt_group": self.halt_group,
            "gate_at": self.gate_at,
            "is_up": self.is_up,
            "summary_on": self.summary_on,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Told":
        """The same, read again."""
        return cls(
            HistoryMark(value["event"], value["fill"]),
            {symbol: Holding(*map(Decimal, figures)) for symbol, figures in value["holdings"].items()},
            {currency: Decimal(pnl) for currency, pnl in value["realized"].items()},
            frozenset(value["unknown"]),
            halt=value["halt"],
            halt_group=value.get("halt_group", ""),
            gate_at=value["gate_at"],
            is_up=value["is_up"],
            summary_on=value["summary_on"],
        )
