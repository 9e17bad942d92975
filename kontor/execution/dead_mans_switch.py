"""The dead man's switch: while the executor works it keeps telling the venue so; when it dies, the venue cancels all.

It is disarmed while a position is open, unless the venue is known to spare the stops that protect it: a desk that dies
must not take its own protection with it.
"""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import anyio

from kontor.config import OrderSettings
from kontor.domain.market import MarketKind
from kontor.errors import ExchangeError, LeaseLost, NotSupported, Rejected, StoreError
from kontor.execution.lease import HeldLease
from kontor.ports import Clock, Exchange, Store

log = logging.getLogger(__name__)

DEAD_MANS_SWITCH = "dead_mans_switch"
# How often positions are looked at: one that was just opened must not stay under an armed switch.
LOOK_SECONDS = 1.0
# The switch is renewed this many times before it would fire.
RENEWALS = 3
LET_GO_SECONDS = 3.0
# A venue that refuses it is asked again after pauses that double up to this.
LONGEST_PAUSE_SECONDS = 10.0
# Positions are fetched or streamed at least every minute; older ones say nothing about what is open now.
BELIEVED = timedelta(minutes=2)


class DeadMansSwitch:
    """Keeps the venue's cancel-all-after armed or disarmed, as settings, venue and positions want it."""

    def __init__(self, account: str, store: Store, exchange: Exchange, clock: Clock, settings: OrderSettings) -> None:
        self._account, self._store, self._exchange, self._clock = account, store, exchange, clock
        self._seconds = settings.dead_mans_switch_seconds
        self._armed_at: float | None = None
        # Not known before the first answer: an executor before us may have left it armed.
        self._is_armed: bool | None = None
        # It is set by one at a time, and not at all after the orderly end: nothing overtakes the disarming.
        self._turn, self._is_over = asyncio.Lock(), False
        self._said = ""

    async def keep(self) -> None:
        """Look after it until canceled; returns at once where there is nothing to look after."""
        if self._seconds is None:
            return
        if not self._exchange.profile.cancel_all_after:
            exchange_id = self._exchange.profile.exchange_id
            await self._say(f"{exchange_id} has no dead man's switch that this desk can keep", armed=False)
            return
        failures = 0
        while True:
            try:
                async with self._turn:
                    if self._is_over:
                        return
                    await self._look(self._seconds)
                failures = 0
            except NotSupported as error:
                await self._say(str(error), armed=False)
                return
            except (ExchangeError, StoreError) as error:
                failures += 1
                log.warning("dead_mans_switch_failed account=%s error=%s", self._account, error)
                await self._say_failed(error)
            await self._clock.sleep(min(LOOK_SECONDS * 2.0 ** min(failures, 60), LONGEST_PAUSE_SECONDS))

    async def let_go(self, held: HeldLease) -> None:
        """Disarm it at an orderly end, so that orders that are meant to stay do; not after somebody has taken over."""
        self._is_over = True
        if self._seconds is None or not self._exchange.profile.cancel_all_after:
            return
        with anyio.CancelScope(shield=True), anyio.move_on_after(LET_GO_SECONDS):
            try:
                async with self._turn:
                    if self._is_armed is False:
                        return
                    held.check()
                    await self._disarm("the executor has stopped in good order")
            except (ExchangeError, LeaseLost, StoreError, asyncio.CancelledError) as error:
                log.warning("dead_mans_switch_left_armed account=%s error=%s", self._account, error)

    async def _look(self, seconds: int) -> None:
        protects = await self._protects()
        if protects:
            if self._is_armed is not False:
                await self._disarm(protects)
            return
        now = self._clock.monotonic()
        if self._armed_at is None or now - self._armed_at >= seconds / RENEWALS:
            # Should its answer be lost, it may be armed all the same.
            self._is_armed = self._is_armed or None
            try:
                await self._exchange.cancel_all_after(seconds)
            except Rejected:
                self._is_armed = bool(self._is_armed)
                raise
            self._is_armed, self._armed_at = True, now
            await self._say(f"the venue cancels {self._what()} after {seconds} s without us", armed=True)

    def _what(self) -> str:
        """Which orders it takes."""
        profile = self._exchange.profile
        kinds = sorted(kind.value for kind in profile.cancel_all_after_kinds)
        every = "every order" if len(kinds) == len(MarketKind) else f"every {' and '.join(kinds)} order"
        return f"{every} but stops" if profile.cancel_all_after_spares_stops else every

    async def _protects(self) -> str:
        """Why it must not be armed now, empty when it may be."""
        if self._exchange.profile.cancel_all_after_spares_stops:
            return ""
        positions = await self._store.account.positions(self._account)
        if positions is None:
            return "positions are not known yet"
        if self._clock.now() - positions.at > BELIEVED:
            # Whoever keeps them up to date is as dead as it gets: one may have been opened since.
            return f"positions are not known since {positions.at:%H:%M:%S} UTC"
        held = sorted(position.symbol for position in positions.value)
        if held:
            return f"a position is open in {', '.join(held)}"
        fills = await self._store.orders.fills(self._account, since=positions.at)
        # On spot no stop protects anything.
        traded = sorted({fill.symbol for fill in fills if ":" in fill.symbol and fill.filled_at > positions.at})
        return f"{', '.join(traded)} was traded since positions were known" if traded else ""

    async def _disarm(self, reason: str) -> None:
        await self._exchange.cancel_all_after(0)
        self._is_armed, self._armed_at = False, None
        await self._say(f"disarmed: {reason}", armed=False)

    async def _say_failed(self, error: Exception) -> None:
        try:
            await self._say(f"it could not be set: {error}", armed=bool(self._is_armed))
        except StoreError as unsaid:
            log.warning("dead_mans_switch_not_noted account=%s error=%s", self._account, unsaid)

    async def _say(self, sentence: str, *, armed: bool) -> None:
        """Note it for the status; logged when it changes."""
        now = self._clock.now()
        value: dict[str, Any] = {"armed": armed, "reason": sentence}
        if armed and self._seconds is not None:
            value["fires_at"] = (now + timedelta(seconds=self._seconds)).isoformat()
        await self._store.desk.set_attribute(self._account, DEAD_MANS_SWITCH, value, now)
        if sentence != self._said:
            self._said = sentence
            log.info("dead_mans_switch account=%s armed=%s reason=%s", self._account, armed, sentence)
