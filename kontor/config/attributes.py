"""Start values of shared state: constants and first values that updaters refer to by `$name`."""

from typing import Annotated

from pydantic import JsonValue, StringConstraints

# A name an updater may write later; what it wrote counts from then on.
AttributeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Attributes = dict[AttributeName, JsonValue]
