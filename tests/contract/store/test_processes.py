"""Several processes on one store: what is committed survives, nobody freezes, nobody hears "locked"."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from kontor.domain.order import OrderState
from kontor.store import open_store
from tests.contract.store.conftest import OpenStore
from tests.contract.store.processes import start


@contextmanager
def running(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """The processes end with the block, whatever happens in it."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


async def test_what_was_committed_survives_kill_9(url: str, opened: OpenStore) -> None:
    """An order is committed before anything goes on the wire; that is worth nothing if a crash takes it back."""
    victim = start("enqueue", url, "k")
    with running(victim):
        told = [line(victim) for _ in range(20)]
    assert victim.returncode == -9
    store = opened(url)
    orders = {order.client_order_id: order for order in await store.orders.find("paper")}
    assert set(told) <= set(orders)
    assert all(orders[name].state is OrderState.SUBMITTED for name in told)
    for name, order in orders.items():
        history = [event.new_state for event in await store.orders.events(name)]
        assert history == [OrderState.INITIALIZED, OrderState.SUBMITTED][: len(history)]
        assert history[-1] is order.state


async def test_three_processes_write_at_once_without_a_freeze(url: str, opened: OpenStore) -> None:
    """Each with orders, candles and attributes side by side: no error, nothing lost, no event loop at a standstill."""
    processes = [start("stress", url, name) for name in "abc"]
    with running(*processes):
        told = [json.loads(line(process)) for process in processes]
        assert [process.wait() for process in processes] == [0, 0, 0]
    store = opened(url)
    total = await store.desk.attribute("paper", "total")
    assert total
    assert total.value == sum(each["increments"] for each in told)
    assert sum((await store.orders.counts("paper")).values()) == sum(each["orders"] for each in told)
    assert all(each["orders"] > 0 for each in told)
    # The freeze that this guards against lasts as long as the busy timeout; a busy machine pauses for a moment.
    assert max(each["longest_pause"] for each in told) < 3


async def test_processes_that_migrate_together_do_it_once(fresh_url: str) -> None:
    """`kontor up` starts two workers and a server at the same time."""
    processes = [start("migrate", fresh_url) for _ in range(3)]
    with running(*processes):
        assert [line(process) for process in processes] == ["ready"] * 3
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        prefixes = [line(process) for process in processes]
        assert [process.wait() for process in processes] == [0, 0, 0]
    store = open_store(fresh_url)
    assert set(prefixes) == {await store.desk.desk_prefix()}
    await store.close()
