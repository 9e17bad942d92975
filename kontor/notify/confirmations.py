"""Dangerous commands that wait to be confirmed: a code each, for one chat and person, for a short time."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from kontor.notify.commands import Command

_MOST = 20
_CODE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A command with what its order id derives from, and until when it may be confirmed."""

    command: Command
    key: str
    until: float


class Confirmations:
    """What was asked back; moments are monotonic seconds. A code works once, and only for who asked."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[int, int, str], Asked] = OrderedDict()

    def ask(self, chat: int, user: int, command: Command, *, key: str, until: float) -> str:
        """The code that confirms a command."""
        code = f"{secrets.randbelow(10**_CODE_DIGITS):0{_CODE_DIGITS}d}"
        self._asked[chat, user, code] = Asked(command, key, until)
        while len(self._asked) > _MOST:
            self._asked.popitem(last=False)
        return code

    def take(self, chat: int, user: int, code: str, now: float) -> Asked | None:
        """The command for a code, once; None for a wrong code, somebody else's, or one whose time is over.

        A wrong code uses up what that person had asked: nobody can try them all.
        """
        found = self._asked.pop((chat, user, code.strip()), None)
        if found is None:
            for key in [key for key in self._asked if key[:2] == (chat, user)]:
                del self._asked[key]
        return found if found is not None and now <= found.until else None
