"""The watch over children that hang: one that has not answered for minutes is ended, and its keeper starts it again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from deployments.crew import Say
from kontor.errors import KontorError

LOOK_SECONDS = 15.0
# A single answer may take so long.
ANSWER_SECONDS = 10.0
# One that has just been started may take so many times as long: importing everything on a busy machine takes minutes.
START_FACTOR = 2
# Replaced so often without a sign of life in between: the whole desk should be started anew.
TROUBLE = 3
# A vigil that has not come round for so long hangs itself.
ASLEEP_SECONDS = 300.0


@dataclass
class Ward:
    """One thing that is watched: how it is asked, how it is replaced, and for how many looks in a row it may be silent.

    Looks are counted, not seconds: a machine that slept, or a supervisor that was held up, has seen one silence.
    """

    name: str
    is_well: Callable[[], Awaitable[bool]]
    replace: Callable[[], None]
    patience: int
    #: Trading depends on it.
    essential: bool = True
    #: Replaced once for each trouble: a second time would help no more.
    once: bool = False
    #: Which process it is now, None while there is none: its keeper may have started another one meanwhile.
    identity: Callable[[], object | None] = lambda: True
    #: What is said of it; else for how long it has been silent.
    complaint: str = ""
    misses: int = field(default=0, init=False)
    has_answered: bool = field(default=True, init=False)
    known: object | None = field(default=None, init=False)
    in_a_row: int = field(default=0, init=False)
    #: Why it could not be looked at last.
    trouble: str = field(default="", init=False)

    @property
    def limit(self) -> int:
        """How many silent looks in a row are too many now."""
        return self.patience if self.has_answered else START_FACTOR * self.patience


@dataclass
class Vigil:
    """Looks at its wards again and again, and replaces what hangs."""

    wards: Sequence[Ward]
    say: Say
    every: float = LOOK_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    _looked_at: float | None = field(default=None, init=False)

    async def run(self) -> None:
        """Never returns."""
        while True:
            self._looked_at = self.monotonic()
            await asyncio.sleep(self.every)
            await asyncio.gather(*(self._look(each) for each in self.wards))

    async def is_well(self) -> bool:
        """Whether the vigil itself comes round, and nothing that trading depends on hangs again and again."""
        if self._looked_at is not None and self.monotonic() - self._looked_at > ASLEEP_SECONDS + self.every:
            return False
        return not any(each.essential and each.in_a_row >= TROUBLE for each in self.wards)

    async def _look(self, ward: Ward) -> None:
        process = ward.identity()
        if process is None:
            return
        if ward.known is not None and process != ward.known:
            ward.misses, ward.has_answered = 0, False
        ward.known = process
        if await self._answers(ward):
            ward.misses, ward.in_a_row, ward.has_answered = 0, 0, True
            return
        ward.misses += 1
        if ward.misses < ward.limit or (ward.once and ward.in_a_row):
            return
        complaint = ward.complaint or f"has given no sign of life for {ward.misses * self.every / 60:.0f} min"
        self.say(f"the {ward.name} {complaint}: ending it, it is started again")
        ward.replace()
        ward.misses, ward.has_answered = 0, False
        ward.in_a_row += 1

    async def _answers(self, ward: Ward) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await ward.is_well()
        except TimeoutError:
            return False
        except KontorError:
            # What is asked of somebody else, who cannot be asked now, says nothing about the ward.
            return True
        except Exception as error:  # noqa: BLE001 - a vigil that ends of an odd answer would end the whole desk
            trouble = f"{type(error).__name__}: {error}"
            if trouble != ward.trouble:
                ward.trouble = trouble
                self.say(f"the {ward.name} cannot be looked at: {trouble}")
            return True
        ward.trouble = ""
        return found
