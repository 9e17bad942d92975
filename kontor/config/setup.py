"""The section of kontor.yaml about how the account must be set up at the venue."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from kontor.config.base import Settings

Leverage = Annotated[Decimal, Field(ge=1, le=125)]


class SetupSettings(Settings):
    """What the account must be like at the venue before new risk is taken; what is left out is not looked at."""

    # What the desk's positions are held with; it sends its orders so.
    margin_mode: Literal["cross", "isolated"] = "cross"
    # By symbol: no new risk while the venue has another leverage there.
    leverage: dict[str, Leverage] = Field(default_factory=dict)
