"""Who waits for changes of an account's orders, and what number of change each account has reached."""

import asyncio
from collections import defaultdict


class Changes:
    """Change numbers by account, and the waiters of this process; lives on one event loop.

    Numbers only grow. Each account remembers the last number it answered True for, so that what was committed between
    two calls of `wait` is not missed. That memory is shared: the port means one waiter per account and store.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._answered: dict[str, int] = {}
        self._waiters: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    @property
    def watched(self) -> tuple[str, ...]:
        """The accounts with a number to compare with."""
        return tuple(self._answered)

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits now."""
        return any(self._waiters.values())

    def watch(self, account: str, number: int = 0) -> None:
        """From here on, a number above this one is a change; a second call changes nothing."""
        if account not in self._answered:
            self._numbers[account] = max(number, self._numbers.get(account, 0))
            self._answered[account] = self._numbers[account]

    def reached(self, account: str, number: int) -> bool:
        """Take note of the account's number; wakes its waiters when it grew, and says so."""
        if number <= self._numbers.get(account, 0):
            return False
        self._numbers[account] = number
        self._wake(account)
        return True

    def advance(self, account: str) -> None:
        """One more change, for those who get news without a number."""
        self.reached(account, self._numbers.get(account, 0) + 1)

    def advance_all(self) -> None:
        """Something may have been missed: every account that was ever watched has changed."""
        for account in self.watched:
            self.advance(account)

    async def wait(self, account: str, *, seconds: float) -> bool:
        """True as soon as the number is above the one answered last; False after `seconds`."""
        self.watch(account)
        base = self._answered[account]
        if self._numbers.get(account, 0) <= base:
            await self._sleep(account, seconds)
        number = self._numbers.get(account, 0)
        self._answered[account] = max(number, self._answered[account])
        return number > base

    def close(self) -> None:
        """Wake everybody, for good."""
        for account in tuple(self._waiters):
            self._wake(account)

    async def _sleep(self, account: str, seconds: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[account].add(waiter)
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiters[account].discard(waiter)

    def _wake(self, account: str) -> None:
        for waiter in self._waiters[account]:
            if not waiter.done():
                waiter.set_result(None)
