"""What people are told of a stream whose venue goes away and comes back, on real sockets."""

from kontor.paper.faults import FaultKind
from kontor.ports import Alert
from kontor.resilience.circuit_breaker import BreakerStatus
from kontor.streams.market import MarketStreamer
from tasks.breakers import breaker_alert
from tests.support.streaming import ACCOUNT, StreamingDesk


async def test_a_stream_that_is_refused_is_told_degraded_and_recovered(desk: StreamingDesk) -> None:
    """A socket that is lost and made again at once is no news; a venue that refuses them is, and its return too."""
    told: list[Alert] = []

    def changed(status: BreakerStatus) -> None:
        alert = breaker_alert(ACCOUNT, status, desk.clock.now())
        told.extend([alert] if alert else [])

    async def has_told(event: str) -> bool:
        return any(alert.event == event for alert in told)

    desk.gate.on_change = changed
    async with desk.streaming(MarketStreamer):
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=60)
        before = desk.connections()
        desk.befall(FaultKind.WS_DROP, times=1)
        await desk.until(lambda: _more(desk, before), seconds=60)
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=60)
        assert told == []
        desk.befall(FaultKind.HTTP_503, probability=1.0)
        desk.befall(FaultKind.WS_DROP, times=5)
        await desk.until(lambda: has_told("stream.degraded"), seconds=60)
        desk.recover()
        await desk.until(lambda: has_told("stream.recovered"), seconds=60)
        await desk.until(lambda: desk.is_fresh("tickers"), seconds=60)
    assert told[0].title == "Stream degraded: okx stream-test"
    assert told[-1].title == "Stream recovered: okx stream-test"
    assert (told[0].severity, told[0].account) == ("warning", ACCOUNT)
    assert "503" in told[0].text


async def _more(desk: StreamingDesk, before: int) -> bool:
    return desk.connections() > before
