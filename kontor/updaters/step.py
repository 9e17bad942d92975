"""A step of an updater, as prefect.yaml writes it, and the references in its arguments."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, JsonValue

from kontor.config.base import Settings

# Names of shared state: an attribute of the store.
NAME = r"^[a-z][a-z0-9_]{0,63}$"
# Names of updaters: of their lease, their heartbeat and usually their deployment.
UPDATER_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class Step(Settings):
    """One step of an updater: call something documented, and store its result under a name."""

    call: Annotated[str, Field(min_length=1, description="What is called; `kontor updaters` lists every name.")]
    args: Annotated[
        list[JsonValue] | dict[str, JsonValue],
        Field(description="Arguments in order or by name: literals, or `$name` for shared state; `$$` is a `$`."),
    ] = Field(default_factory=list)
    target: Annotated[
        str | None,
        Field(pattern=NAME, description="The name the result is stored under; left out, it is not stored."),
    ] = None
    merge: Annotated[bool, Field(description="Update the stored object key by key instead of replacing it.")] = False

    def arguments(self) -> Iterator[tuple[int | str, Any]]:
        """Each argument with its place: a position, or a parameter's name."""
        yield from self.args.items() if isinstance(self.args, dict) else enumerate(self.args)


def reference(argument: Any) -> str | None:
    """The name an argument refers to: `$watchlist` is watchlist; None for a literal."""
    if isinstance(argument, str) and argument.startswith("$") and not argument.startswith("$$"):
        return argument[1:]
    return None


def literal(argument: Any) -> Any:
    """A literal's value: `$$` at its start stands for one `$`."""
    return argument[1:] if isinstance(argument, str) and argument.startswith("$$") else argument


def nested_reference(argument: Any) -> str | None:
    """A `$name` that hides inside a list or object, where it would be taken literally."""
    if isinstance(argument, dict):
        argument = list(argument.values())
    if not isinstance(argument, list):
        return None
    for inner in argument:
        found = inner if reference(inner) is not None else nested_reference(inner)
        if found is not None:
            return found
    return None
