"""What Kontor's blocks share: unknown fields are mistakes, and an error never shows what was typed."""

from abc import ABC
from typing import Any

from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from kontor.notify.redaction import remember_secret


class StrictFields(BaseModel):
    """A mixin: refuses fields the block does not have, since a misspelled secret would be stored in the clear."""

    # Pydantic quotes the offending input by default, and that may be a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, values: Any) -> Any:
        if isinstance(values, dict):
            # Prefect itself passes the type's slug and its own private fields.
            unknown = [key for key in values if key not in cls.model_fields and key != "block_type_slug"]
            unknown = [key for key in unknown if not str(key).startswith("_")]
            if unknown:
                raise ValueError(f"{unknown[0]} is not a field of this block; remove it or mend its spelling")
        return values


class KontorBlock(StrictFields, Block, ABC):
    """Base of the connection blocks; what they hold as a secret is hidden from every alert of this process."""

    def block_initialization(self) -> None:
        """Make the block's secrets known to the redaction."""
        remember_secrets(self)


def remember_secrets(block: Block) -> None:
    """Hide every SecretStr of this block from alerts and logs of ours."""
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, SecretStr):
            remember_secret(value.get_secret_value())
