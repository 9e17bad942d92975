"""Text without secrets: the ones this process was told of, and everything that looks like one."""

import re

HIDDEN = "***"
# Shorter values (an empty password, "1234") would riddle ordinary text with stars.
SHORTEST = 6
# A part of an address that has no figures and is shorter than this is a word.
WORDS_ARE_SHORTER = 12

# Every secret a block of this process held: known values are found where no pattern would see them.
_known: set[str] = set()

_DIGIT = re.compile(r"\d")
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+")

_PATTERNS = (
    # Discord webhooks and Telegram bots carry their secret in the path.
    (re.compile(r"(/webhooks/)\d+/[\w-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(bot)?\d{6,}:[\w-]{30,}"), HIDDEN),
    # The password in an address such as a database's.
    (re.compile(r"(\w://[^\s:/@]*:)[^\s@/]+(@)"), rf"\1{HIDDEN}\2"),
    (
        re.compile(
            r"""(?ix) (\b [\w-]* (?: api[_-]?key | secret | token | passw(?:or)?d | passphrase | signature
                | OK-ACCESS-(?:KEY|SIGN) | authorization ) ["']? \s* [=:] \s* (?:bearer\s+|basic\s+)? ["']?)
            [^\s"',;&)}\]]+"""
        ),
        rf"\1{HIDDEN}",
    ),
)


def remember_secret(value: str) -> None:
    """From now on `redact` hides this value wherever it stands; values under six characters are left alone."""
    if len(value) >= SHORTEST:
        _known.add(value)


def remember_if_secret(piece: str) -> None:
    """Remember a part of an address where it may be a token.

    A short word, such as `heartbeat`, or a name with dots, as hosts have, is none; it would be hidden in every log.
    """
    is_long = len(piece) >= WORDS_ARE_SHORTER
    if (is_long or _DIGIT.search(piece)) and not _HOST.fullmatch(piece):
        remember_secret(piece)


def redact(text: str) -> str:
    """The text with every known secret, and whatever looks like one, replaced by stars."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
