"""Faults on the wire, through the paper exchange's own admin endpoints; each that happened is counted once."""

import random

import aiohttp

CREATE, CANCEL = "/api/v5/trade/batch-orders", "/api/v5/trade/cancel*"
LOOKUP, OPEN_ORDERS = "/api/v5/trade/order", "/api/v5/trade/orders-pending"
FILLS, CLOSED = "/api/v5/trade/fills*", "/api/v5/trade/orders-history*"
PATHS = (CREATE, CREATE, CREATE, LOOKUP, LOOKUP, CANCEL, CANCEL, OPEN_ORDERS, FILLS, CLOSED)
# All that befall a request; those of the WebSocket (ws_*) have no order on the wire.
KINDS = (
    "delay",
    "hang",
    "drop_before",
    "drop_after",
    "http_500",
    "http_502",
    "http_503",
    "http_429",
    "html_200",
    "truncated_json",
    "empty_body",
    "wrong_clock",
)
EITHER_WAY = {"hang", "http_500", "http_502", "http_503", "html_200"}
TIMED = {"delay", "hang", "http_429"}


class Wire:
    """The faults of one venue, which forgets them when it is restarted."""

    def __init__(self, rng: random.Random, http: aiohttp.ClientSession, url: str) -> None:
        self._rng, self._http, self._url = rng, http, url

    async def plan_fault(self) -> None:
        """Let something go wrong soon."""
        rng = self._rng
        kind = rng.choice(KINDS)
        rule: dict[str, object] = {"path": rng.choice(PATHS), "kind": kind, "times": rng.choice([1, 1, 2, 4])}
        if kind in EITHER_WAY:
            rule["when"] = rng.choice(["before", "after"])
        if kind in TIMED:
            rule["seconds"] = rng.choice([0.3, 1.2, 2.5])
        if kind == "wrong_clock":
            rule["seconds"] = rng.choice([-40, -3, 3, 40])
        await self._admin("POST", json=rule)

    async def count(self) -> int:
        """How many have happened since the last count; those are forgotten."""
        happened = 0
        for fault in await self._admin("GET"):
            if fault["hits"] >= fault["times"]:
                await self._admin("DELETE", f"/{fault['id']}")
                happened += fault["hits"]
        return happened

    async def clear(self) -> None:
        """From here on everything is told as it is."""
        await self._admin("DELETE")

    async def _admin(self, method: str, path: str = "", **body: object) -> list[dict[str, int]]:
        try:
            async with self._http.request(method, f"{self._url}/admin/faults{path}", **body) as reply:  # type: ignore[arg-type]
                found = await reply.json(content_type=None)
                assert reply.status == 200, found
                return found if isinstance(found, list) else found.get("faults", [])
        except aiohttp.ClientError:
            # It is being restarted.
            return []
