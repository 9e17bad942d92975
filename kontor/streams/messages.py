"""Messages of a venue that came to nothing, as each stream counts them: for the status and its metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kontor.ports import DeskState, Streams

MESSAGES = "stream_messages"
# The commonest kinds are named, the others only counted.
MOST_KINDS = 20


@dataclass(frozen=True, slots=True)
class StreamMessages:
    """One stream's counts since it began: `unknown` by kind (a message's keys), and those that could not be read."""

    unknown: Mapping[str, int] = field(default_factory=dict)
    unreadable: int = 0

    @classmethod
    def of(cls, streams: Streams) -> "StreamMessages":
        """What a stream has counted so far; of very many kinds, the rarest together."""
        ranked = sorted(streams.unknown.items(), key=lambda each: (-each[1], each[0]))
        named, rest = dict(ranked[:MOST_KINDS]), sum(count for _, count in ranked[MOST_KINDS:])
        if rest:
            named["(others)"] = named.get("(others)", 0) + rest
        return cls(named, streams.unreadable)


async def load_messages(state: DeskState, account: str) -> Mapping[str, StreamMessages]:
    """By stream, what it counted last."""
    found = await state.attribute(account, MESSAGES)
    values = (found.value or {}) if found else {}
    return {name: StreamMessages(value["unknown"], value["unreadable"]) for name, value in sorted(values.items())}


def to_json(messages: StreamMessages) -> dict[str, object]:
    """How it is stored and shown."""
    return {"unknown": dict(messages.unknown), "unreadable": messages.unreadable}
