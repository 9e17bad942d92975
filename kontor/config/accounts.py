"""The section of kontor.yaml about single accounts: what is different there, laid over what holds for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from kontor.config.base import Settings
from kontor.config.protection import ProtectionSettings
from kontor.config.sections import OrderSettings, RiskSettings, WatchlistSettings
from kontor.config.setup import SetupSettings
from kontor.config.trading import StrategySettings, UnitSettings

AccountName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class StrategyOverlay(StrategySettings):
    """What is different of a strategy in one account, or all of one that runs there only."""

    # As of every strategy; needed where the strategy is one of this account only.
    use: str = ""
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class As:
    """What an editor is told of a section: its values are looked at when it has been laid over the others."""

    kind: Any

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the section itself."""
        del core_schema
        return handler(TypeAdapter(self.kind).core_schema)


Part = dict[str, Any]


class AccountOverlay(Settings):
    """What is different for one account; a section has the keys that it has above, as many as differ."""

    capital_currency: str | None = None
    watchlist: Annotated[Part | None, As(WatchlistSettings | None)] = None
    risk: Annotated[Part | None, As(RiskSettings | None)] = None
    protection: Annotated[Part | None, As(ProtectionSettings | None)] = None
    setup: Annotated[Part | None, As(SetupSettings | None)] = None
    orders: Annotated[Part | None, As(OrderSettings | None)] = None
    strategies: Annotated[Part | None, As(dict[str, StrategyOverlay] | None)] = None
    units: Annotated[Part | None, As(UnitSettings | None)] = None

    def over(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The settings for all with this laid over them, key by key."""
        mine = {name: value for name, value in self.model_dump(exclude_unset=True).items() if value is not None}
        return _merged(base, mine)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged all the way down; anything else, a list or nothing at all, takes the other's place."""
    found = dict(base)
    for key, value in over.items():
        before = found.get(key)
        found[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return found
