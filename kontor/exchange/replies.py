"""What a venue said, read out of a ccxt error's text or an order's raw answer: its code and its words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CODE_KEYS = ("sCode", "code", "retCode", "ret_code", "error_code", "errorCode", "err_code")
TEXT_KEYS = ("sMsg", "msg", "retMsg", "ret_msg", "message", "error_message", "errorMessage", "error", "label")
# Codes that mean "nothing wrong with this one".
FINE = frozenset({"", "0", "200", "None"})


@dataclass(frozen=True, slots=True)
class Reply:
    """A refusal in the venue's own code and words; both may be empty."""

    code: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """The venue said nothing we could read."""
        return not self.code and not self.text

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


def read_item(item: Any) -> Reply:
    """The code and text of one JSON object."""
    if not isinstance(item, Mapping):
        return Reply()
    code = next((str(item[key]) for key in CODE_KEYS if str(item.get(key)) not in FINE), "")
    text = next((item[key] for key in TEXT_KEYS if isinstance(item.get(key), str) and item[key]), "")
    return Reply(code, text.strip())


def read_body(message: str) -> Any:
    """The first JSON value in an error's text, None when there is none."""
    starts = [at for at in (message.find("{"), message.find("[")) if at >= 0]
    if not starts:
        return None
    try:
        return json.JSONDecoder().raw_decode(message, min(starts))[0]
    except ValueError:
        return None


def read_items(message: str) -> Sequence[Reply]:
    """One reply per order of a batch that failed as a whole; empty when the answer has no such list."""
    body = read_body(message)
    data = body.get("data") if isinstance(body, Mapping) else body
    return [read_item(item) for item in data] if isinstance(data, list) else []


def read_error(message: str) -> Reply:
    """The most telling code and text of an error: that of the first order inside, else that of the whole answer."""
    for reply in read_items(message):
        if reply.code:
            return reply
    return read_item(read_body(message))
