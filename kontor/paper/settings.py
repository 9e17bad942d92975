"""What a paper exchange is started with."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from kontor.paper.model import AccountConfig, VenueConfig

DEFAULT_PORT = 8400
STATE_FILE = "paper.sqlite3"
MINUTE_MS = 60_000
LIVE, LIVE_TICK_MS = "live:", 100


class PaperAccount(BaseModel):
    """An account of the paper exchange and the API key that opens it; a sub-account is simply another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    api_key: str = Field(min_length=1)
    secret: SecretStr
    passphrase: SecretStr
    parent: str | None = None
    """The main account's name, for a sub-account."""
    funds: dict[str, Decimal] = Field(default_factory=lambda: {"USD": Decimal(100_000)})
    """What the account is opened with, by currency; an account that is stored already keeps what it has."""

    def as_config(self) -> AccountConfig:
        """The account as the venue wants it."""
        return AccountConfig(
            name=self.name,
            api_key=self.api_key,
            secret=self.secret.get_secret_value(),
            passphrase=self.passphrase.get_secret_value(),
            funds=tuple(self.funds.items()),
            parent=self.parent,
        )


def default_accounts() -> tuple[PaperAccount, ...]:
    """The accounts every paper exchange has unless told otherwise; the keys open nothing but play money."""
    return tuple(
        PaperAccount(
            name=name,
            api_key=f"{name}-key",
            secret=SecretStr(f"{name}-secret"),
            passphrase=SecretStr(f"{name}-passphrase"),
            parent=parent,
        )
        for name, parent in (("paper", None), ("paper-sub", "paper"))
    )


def default_home() -> Path:
    """The folder that holds a desk's state: KONTOR_HOME, or .kontor in the current folder."""
    return Path(os.environ.get("KONTOR_HOME") or ".kontor")


class PaperSettings(BaseModel):
    """Everything that can be said about a paper exchange before it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    """0 takes any free port."""
    markets: int = Field(default=40, ge=1, le=2000)
    seed: int = 7
    source: str = "synthetic"
    """`synthetic`, `replay:DIR` with one CSV of candles a market, or `live:EXCHANGE`, an exchange id of ccxt."""
    speed: float = Field(default=1.0, gt=0)
    """Seconds of the exchange's own clock that pass in one real second."""
    rtt_ms: float = Field(default=0.0, ge=0)
    persist: bool = True
    home: Path = Field(default_factory=default_home)
    rate_limit_factor: float = Field(default=1.0, ge=0)
    """Multiplies every documented rate limit; 0 switches them off."""
    tick_ms: float = Field(default=200.0, gt=0)
    """How often, in real milliseconds, resting orders are looked after and changes are pushed."""
    price_tick_ms: int = Field(default=1000, ge=10, le=MINUTE_MS)
    """How often, on the exchange's own clock, prices move; a divisor of a minute."""
    funding_rate: Decimal = Field(default=Decimal("0.0001"), gt=-1, lt=1)
    """What a long position pays of its value every eight hours, and a short one gets."""
    accounts: tuple[PaperAccount, ...] = Field(default_factory=default_accounts, min_length=1)

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        kind, _, folder = source.partition(":")
        if source == "synthetic" or (kind in {"replay", "live"} and folder):
            return source
        raise ValueError(f"price source {source!r} is unknown: use 'synthetic', 'replay:DIR' or 'live:EXCHANGE'")

    @model_validator(mode="before")
    @classmethod
    def _live_prices_move_more_often(cls, given: Any) -> Any:
        if isinstance(given, dict) and str(given.get("source", "")).startswith(LIVE):
            return {"price_tick_ms": LIVE_TICK_MS, "tick_ms": LIVE_TICK_MS, **given}
        return given

    @model_validator(mode="after")
    def _live_prices_keep_their_own_time(self) -> PaperSettings:
        if self.live_exchange and self.speed != 1:
            raise ValueError("live prices come at their own speed: leave --speed at 1, or take another --source")
        return self

    @property
    def live_exchange(self) -> str:
        """The exchange whose prices these are; empty when nobody else's are wanted."""
        return self.source.removeprefix(LIVE) if self.source.startswith(LIVE) else ""

    @field_validator("price_tick_ms")
    @classmethod
    def _divides_a_minute(cls, tick_ms: int) -> int:
        if MINUTE_MS % tick_ms:
            raise ValueError(f"{tick_ms} ms do not divide a minute")
        return tick_ms

    @model_validator(mode="after")
    def _one_account_per_key(self) -> PaperSettings:
        for field in ("name", "api_key"):
            seen = [getattr(account, field) for account in self.accounts]
            if len(set(seen)) < len(seen):
                raise ValueError(f"two accounts of the paper exchange share one {field}: {sorted(seen)}")
        return self

    def venue_config(self) -> VenueConfig:
        """The venue these settings ask for."""
        return VenueConfig(
            markets=self.markets,
            seed=self.seed,
            source=self.source,
            tick_ms=self.price_tick_ms,
            funding_rate=self.funding_rate,
            accounts=tuple(account.as_config() for account in self.accounts),
        )

    @property
    def state_file(self) -> Path | None:
        """Where the exchange's own state is kept, or None when it is not to survive."""
        return self.home / STATE_FILE if self.persist else None
