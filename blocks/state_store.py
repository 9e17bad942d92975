"""The block StateStore: where the desk's durable state lives."""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from blocks.base import KontorBlock

SCHEMES = ("sqlite+aiosqlite", "sqlite", "postgresql+asyncpg", "postgresql")


class StateStore(KontorBlock):
    """The database of one desk; without an address it is a SQLite file in KONTOR_HOME."""

    _block_type_name: ClassVar[str | None] = "Kontor State Store"
    _block_type_slug: ClassVar[str | None] = "kontor-state-store"
    _description: ClassVar[str | None] = "Where the desk keeps orders, balances, prices and candles."

    # An empty address is filled in where the block is loaded, so that it follows that process's KONTOR_HOME.
    url: SecretStr = Field(
        default=SecretStr(""),
        validate_default=True,
        title="Database address",
        description="Empty: the file kontor.db in KONTOR_HOME. PostgreSQL: postgresql://user:password@host:5432/kontor.",
    )

    @field_validator("url")
    @classmethod
    def _database(cls, value: SecretStr) -> SecretStr:
        address = value.get_secret_value().strip() or default_store_url()
        scheme, separator, rest = address.partition("://")
        if not (separator and rest and scheme in SCHEMES):
            raise ValueError("must start with sqlite:// or postgresql:// and name a database; or leave it empty")
        return SecretStr(address)


def default_store_url() -> str:
    """The embedded store: `kontor.db` in KONTOR_HOME, which is `.kontor` when unset."""
    home = Path(os.environ.get("KONTOR_HOME") or ".kontor").expanduser().absolute()
    return f"sqlite:///{home / 'kontor.db'}"
