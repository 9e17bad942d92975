"""An OKX that only says tickers: every market so often a second, each price being the moment it was sent.

`python -m benchmarks.ticker_venue MARKETS UPDATES` prints its port. Frames are encoded beforehand, all but their two
stamps, and written a slice of the markets at a time: two thousand messages a second cost it a few per cent of a core.
`GET /sent` tells how many it has sent, and how many it held back because their reader was too slow.
"""

import asyncio
import json
import struct
import sys
import time
from contextlib import suppress

from aiohttp import WSMsgType, web

SLICES = 20
# A reader that is so many bytes behind is not sent more.
MOST_WAITING = 4_000_000
# As long as the stamps that take their places: seconds with six digits, and milliseconds.
LAST, TS = b"1234567890.123456", b"1234567890123"


def frame(name: str) -> tuple[bytes, bytes, bytes]:
    """A WebSocket frame in three parts; between them go the price and the time."""
    price = LAST.decode()
    row = {"instType": "SPOT", "instId": name, "last": price, "lastSz": "1", "askPx": "2", "bidPx": "1", "askSz": "1"}
    row |= {"bidSz": "1", "open24h": "1", "high24h": "2", "low24h": "1", "volCcy24h": "1000000", "vol24h": "1000"}
    row |= {"sodUtc0": "1", "sodUtc8": "1", "ts": TS.decode()}
    body = json.dumps({"arg": {"channel": "tickers", "instId": name}, "data": [row]}).encode()
    before, rest = body.split(LAST)
    between, after = rest.split(TS)
    # A final text frame, not masked, of more than 125 bytes.
    return struct.pack(">BBH", 0x81, 126, len(body)) + before, between, after


def instrument(name: str) -> dict[str, str]:
    """A spot market."""
    base, quote = name.split("-")
    steps = {"lotSz": "0.0001", "minSz": "0.0001", "tickSz": "0.000001"}
    return {"instType": "SPOT", "instId": name, "baseCcy": base, "quoteCcy": quote, "state": "live", **steps}


class TickerVenue:
    """The markets, and who listens."""

    def __init__(self, markets: int, updates: int) -> None:
        self._names = [f"M{number:03d}-USD" for number in range(markets)]
        frames = [frame(name) for name in self._names]
        self._slices = [frames[start::SLICES] for start in range(SLICES)]
        self._pause = 1 / updates / SLICES
        self._sent = self._held_back = 0
        self._listeners: set[asyncio.Transport] = set()

    async def rest(self, request: web.Request) -> web.Response:
        """Instruments, time and the counts; everything else is empty."""
        if request.path == "/sent":
            return web.json_response({"sent": self._sent, "held_back": self._held_back})
        data: list[dict[str, str]] = []
        if request.path.endswith("public/instruments") and request.query.get("instType") == "SPOT":
            data = [instrument(name) for name in self._names]
        elif request.path.endswith("public/time"):
            data = [{"ts": str(int(time.time() * 1000))}]
        return web.json_response({"code": "0", "msg": "", "data": data})

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """Every market from the first subscription on, whatever it asks for."""
        socket = web.WebSocketResponse(autoping=True, compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and message.data == "ping":
                    await socket.send_str("pong")
                elif message.type is WSMsgType.TEXT:
                    self._listeners.add(transport)
        finally:
            self._listeners.discard(transport)
        return socket

    async def send(self) -> None:
        """Spread evenly: a slice of the markets every few milliseconds; what is late is made up for."""
        due = time.monotonic()
        while True:
            for frames in self._slices:
                self._write(frames)
                due += self._pause
                await asyncio.sleep(max(due - time.monotonic(), 0))

    def _write(self, frames: list[tuple[bytes, bytes, bytes]]) -> None:
        now = time.time()
        last, ts = b"%.6f" % now, b"%d" % (now * 1000)
        data = b"".join([part for first, second, third in frames for part in (first, last, second, ts, third)])
        for transport in self._listeners:
            if transport.get_write_buffer_size() > MOST_WAITING:
                self._held_back += len(frames)
            else:
                transport.write(data)
                self._sent += len(frames)


async def main() -> None:
    """Serve until ended."""
    venue = TickerVenue(int(sys.argv[1]), int(sys.argv[2]))
    app = web.Application()
    app.router.add_get("/ws/v5/{address}", venue.stream)
    app.router.add_route("*", "/{path:.*}", venue.rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await venue.send()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
