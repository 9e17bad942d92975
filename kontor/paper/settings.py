"""What a paper exchange is started with."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

DEFAULT_PORT = 8400
STATE_FILE = "paper.sqlite3"


class PaperAccount(BaseModel):
    """An account of the paper exchange and the API key that opens it; a sub-account is simply another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    api_key: str = Field(min_length=1)
    secret: SecretStr
    passphrase: SecretStr
    balances: dict[str, Decimal] | None = None
    """What the account is opened with, by currency; None takes the exchange's own starting balance."""


def default_accounts() -> tuple[PaperAccount, ...]:
    """The accounts every paper exchange has unless told otherwise; the keys open nothing but play money."""
    return tuple(
        PaperAccount(
            name=name,
            api_key=f"{name}-key",
            secret=SecretStr(f"{name}-secret"),
            passphrase=SecretStr(f"{name}-passphrase"),
        )
        for name in ("paper", "paper-sub")
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
    markets: int = Field(default=40, ge=20, le=2000)
    seed: int = 1
    source: str = "synthetic"
    """`synthetic`, or `replay:DIR` with one CSV of candles a market."""
    speed: float = Field(default=1.0, gt=0)
    """Seconds of the exchange's own clock that pass in one real second."""
    rtt_ms: float = Field(default=0.0, ge=0)
    persist: bool = True
    home: Path = Field(default_factory=default_home)
    rate_limit_factor: float = Field(default=1.0, ge=0)
    """Multiplies every documented rate limit; 0 switches them off."""
    tick_ms: float = Field(default=200.0, gt=0)
    accounts: tuple[PaperAccount, ...] = Field(default_factory=default_accounts, min_length=1)

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        kind, _, folder = source.partition(":")
        if source == "synthetic" or (kind == "replay" and folder):
            return source
        raise ValueError(f"price source {source!r} is unknown: use 'synthetic' or 'replay:DIR'")

    @model_validator(mode="after")
    def _one_account_per_key(self) -> PaperSettings:
        for field in ("name", "api_key"):
            seen = [getattr(account, field) for account in self.accounts]
            if len(set(seen)) < len(seen):
                raise ValueError(f"two accounts of the paper exchange share one {field}: {sorted(seen)}")
        return self

    @property
    def replay_dir(self) -> Path | None:
        """The folder of candles to replay, or None for synthetic prices."""
        kind, _, folder = self.source.partition(":")
        return Path(folder) if kind == "replay" else None

    @property
    def state_file(self) -> Path | None:
        """Where the exchange's own state is kept, or None when it is not to survive."""
        return self.home / STATE_FILE if self.persist else None
