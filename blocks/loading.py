"""Loading a block by name, with one clear sentence when it is missing or wrong."""

import re
from typing import TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from kontor.config import describe
from kontor.errors import ConfigError

AnyBlock = TypeVar("AnyBlock", bound=Block)

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


async def load_block(block_class: type[AnyBlock], name: str) -> AnyBlock:
    """The saved block; raises ConfigError when there is none of this name or its values are no longer valid."""
    where = f"block {block_class.get_block_type_slug()}/{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError("a block name is lower-case letters, digits and single dashes, such as paper", where=where)
    block = await find_block(block_class, name)
    if block is None:
        raise ConfigError(f"{where} is missing; run 'kontor up' or create it in the UI under Blocks")
    return block


async def find_block(block_class: type[AnyBlock], name: str, *, client: PrefectClient | None = None) -> AnyBlock | None:
    """The saved block, or None when there is none of this name; raises ConfigError when its values are not valid."""
    try:
        return await block_class.aload(name, client=client)
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise
    except RuntimeError as error:
        if isinstance(error.__cause__, ValidationError):
            where = f"block {block_class.get_block_type_slug()}/{name}"
            problem = describe(error.__cause__).replace("(top) ", "")
            raise ConfigError(f"{problem}; mend it in the UI under Blocks", where=where) from None
        raise
