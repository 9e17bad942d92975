"""Which data a stream delivers right now, in the store: while it does, the updater that would fetch the same need not.

A stream says once a second that a channel is fresh; when it stops saying so, for whatever reason, the channel is stale
and the updater takes over at its next run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kontor.errors import StreamIsFresh
from kontor.ports import Clock, DeskState

STREAMS = "streams"
# How long a stream is believed after it last said that a channel is fresh.
BELIEVED = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How one channel stands: `reason` says why it is not fresh."""

    channel: str
    stream: str
    is_fresh: bool
    # When it was last said to be so, and since when it has been.
    at: datetime
    since: datetime
    reason: str = ""
    # Symbols it does not deliver all the same: REST serves them.
    left_out: tuple[str, ...] = ()

    def seen_at(self, now: datetime) -> "ChannelState":
        """The state as it must be taken now: one whose stream has fallen silent is not fresh."""
        silence = now - self.at
        if not self.is_fresh or silence <= BELIEVED:
            return self
        reason = f"{self.stream} has said nothing for {silence.total_seconds():.0f} s"
        return replace(self, is_fresh=False, since=self.at, reason=reason)


async def load_channels(state: DeskState, account: str, now: datetime) -> Mapping[str, ChannelState]:
    """Every channel that was ever streamed, as it stands now."""
    found = await state.attribute(account, STREAMS)
    values = (found.value or {}) if found else {}
    return {name: _from_json(name, value).seen_at(now) for name, value in sorted(values.items())}


async def raise_if_fresh(state: DeskState, account: str, channel: str, now: datetime) -> None:
    """Raise StreamIsFresh when a stream delivers what the caller is about to fetch."""
    found = (await load_channels(state, account, now)).get(channel)
    if found is not None and found.is_fresh:
        age = (now - found.since).total_seconds()
        raise StreamIsFresh(f"{found.stream} has delivered {channel} for {age:.0f} s; nothing to fetch")


async def not_streamed(
    state: DeskState, account: str, channel: str, symbols: Sequence[str], now: datetime
) -> Sequence[str]:
    """Those of the symbols that no stream delivers; raises StreamIsFresh when that is none."""
    found = (await load_channels(state, account, now)).get(channel)
    if found is None or not found.is_fresh:
        return symbols
    left = [symbol for symbol in symbols if symbol in set(found.left_out)]
    if not left:
        await raise_if_fresh(state, account, channel, now)
    return left


class Freshness:
    """One stream's account of its channels; `tell` writes what has changed, and once a second that nothing has."""

    def __init__(self, state: DeskState, account: str, stream: str, *, clock: Clock) -> None:
        self._state, self._account, self._stream, self._clock = state, account, stream, clock
        self._channels: dict[str, ChannelState] = {}

    def fresh(self, channel: str, left_out: Collection[str] = ()) -> None:
        """The channel delivers, and nothing is missing but what is left out."""
        self._set(channel, is_fresh=True, reason="", left_out=tuple(sorted(left_out)))

    def stale(self, channel: str, reason: str) -> None:
        """The channel does not deliver, or something is missing."""
        self._set(channel, is_fresh=False, reason=reason)

    def is_fresh(self, channel: str) -> bool:
        """What was said last."""
        known = self._channels.get(channel)
        return known is not None and known.is_fresh

    async def tell(self) -> None:
        """Write every channel as it stands now."""
        now = self._clock.now()
        value = {name: _to_json(each, now) for name, each in self._channels.items()}
        if value:
            await self._state.set_attribute(self._account, STREAMS, value, now, merge=True)

    def _set(self, channel: str, *, is_fresh: bool, reason: str, left_out: tuple[str, ...] = ()) -> None:
        known, now = self._channels.get(channel), self._clock.now()
        since = known.since if known is not None and known.is_fresh is is_fresh else now
        self._channels[channel] = ChannelState(channel, self._stream, is_fresh, now, since, reason[:300], left_out)


def _to_json(each: ChannelState, at: datetime) -> dict[str, Any]:
    return {
        "stream": each.stream,
        "fresh": each.is_fresh,
        "at": at.isoformat(),
        "since": each.since.isoformat(),
        "reason": each.reason,
        "left_out": list(each.left_out),
    }


def _from_json(name: str, value: Mapping[str, Any]) -> ChannelState:
    at, since = (datetime.fromisoformat(value[key]) for key in ("at", "since"))
    left_out = tuple(value.get("left_out", ()))
    return ChannelState(name, value["stream"], value["fresh"], at, since, value["reason"], left_out)
