"""The section of kontor.yaml about stops that the venue holds."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from kontor.config.base import Settings


class ProtectionSettings(Settings):
    """Every position that a strategy opens on a swap has a reduce-only stop at the venue; it outlives the desk."""

    # Distance from the mean entry, in percent, for strategies whose exits name no stop_loss_percent.
    stop_percent: Annotated[Decimal, Field(gt=0, lt=100)] = Decimal(20)
    # Positions in a market that is delisted are closed so long before that.
    exit_before_delisting_hours: Annotated[Decimal, Field(gt=0, le=720)] = Decimal(24)
    # `accept`: strategies may open positions where the venue holds no such stops; only a running desk closes them then.
    without_venue_stops: Literal["refuse", "accept"] = "refuse"
