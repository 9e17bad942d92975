"""An OKX that only says tickers: every market so often a second, each price being the moment it was sent."""

import asyncio
import json
import sys
import time

from aiohttp import WSMsgType, web

MARKETS, UPDATES = int(sys.argv[1]), int(sys.argv[2])
NAMES = [f"M{number:03d}-USD" for number in range(MARKETS)]


def instrument(name: str) -> dict[str, str]:
    base, quote = name.split("-")
    steps = {"lotSz": "0.0001", "minSz": "0.0001", "tickSz": "0.000001"}
    return {"instType": "SPOT", "instId": name, "baseCcy": base, "quoteCcy": quote, "state": "live", **steps}


def ticker(name: str) -> str:
    sent = f"{time.time():.6f}"
    row = {"instType": "SPOT", "instId": name, "last": sent, "lastSz": "1", "askPx": sent, "bidPx": sent, "askSz": "1"}
    row |= {"bidSz": "1", "open24h": sent, "high24h": sent, "low24h": sent, "volCcy24h": "1000000", "vol24h": "1000"}
    row |= {"sodUtc0": sent, "sodUtc8": sent, "ts": str(int(time.time() * 1000))}
    return json.dumps({"arg": {"channel": "tickers", "instId": name}, "data": [row]})


async def rest(request: web.Request) -> web.Response:
    data: list[dict[str, str]] = []
    if request.path.endswith("public/instruments") and request.query.get("instType") == "SPOT":
        data = [instrument(name) for name in NAMES]
    elif request.path.endswith("public/time"):
        data = [{"ts": str(int(time.time() * 1000))}]
    return web.json_response({"code": "0", "msg": "", "data": data})


async def stream(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(autoping=True, compress=False)
    await socket.prepare(request)
    sending = None
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        if message.data == "ping":
            await socket.send_str("pong")
        elif sending is None:
            sending = asyncio.create_task(send(socket))
    if sending is not None:
        sending.cancel()
    return socket


async def send(socket: web.WebSocketResponse) -> None:
    """Spread evenly: a twentieth of the markets every so often."""
    slices = [NAMES[start::20] for start in range(20)]
    pause, due = 1 / UPDATES / len(slices), time.monotonic()
    while not socket.closed:
        for names in slices:
            for name in names:
                await socket.send_str(ticker(name))
            due += pause
            await asyncio.sleep(max(due - time.monotonic(), 0))


async def main() -> None:
    app = web.Application()
    app.router.add_get("/ws/v5/{address}", stream)
    app.router.add_route("*", "/{path:.*}", rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
